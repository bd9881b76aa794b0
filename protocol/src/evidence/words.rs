//! The closed lists of words that fields of a line may hold.

/// A type of closed words, spelled on lines as given.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* $variant,)*
        }

        impl $name {
            /// The spelling on a log line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl $crate::evidence::rule::Words for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];
            fn word(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

pub(crate) use words;

words! {
    /// How much of a request left the host. Append-only: it travels on a link by its position.
    Sent {
        /// Nothing.
        None = "none",
        /// Some of it, as far as can be told.
        Partial = "partial",
        /// All of it.
        All = "all",
    }
}

words! {
    /// What moved the kill switch. Append-only: it travels on a link by its position.
    KillSwitchAction {
        /// A source became active.
        Armed = "armed",
        /// A source became inactive.
        Cleared = "cleared",
        /// A request was refused because of it.
        Refused = "refused",
    }
}

words! {
    /// Why a request was refused (evidence format 4.17.1 and 4.17.17). Append-only: it travels on a
    /// link by its position.
    BlockReason {
        /// A pattern with action `block` matched.
        PolicyBlock = "policy_block",
        /// A secret in a protocol position.
        ProtocolPosition = "protocol_position",
        /// Two plaintexts with one tag.
        Collision = "collision",
        /// The body does not parse.
        Unparseable = "unparseable",
        /// The body is over the cap.
        TooLarge = "too_large",
        /// A content encoding that is not supported.
        UnsupportedEncoding = "unsupported_encoding",
        /// The host is not permitted.
        NotPermitted = "not_permitted",
        /// The configuration is invalid.
        ConfigError = "config_error",
        /// A secret in a header, the path or the query.
        HeaderHit = "header_hit",
        /// A damaged content encoding.
        EncodingCorrupt = "encoding_corrupt",
        /// A charset other than UTF-8.
        Charset = "charset",
        /// Multipart that is not handled.
        Multipart = "multipart",
        /// Names or framing that contradict each other.
        ProtocolError = "protocol_error",
        /// Too much at once.
        Overload = "overload",
        /// The plaintext store is full.
        StoreFull = "store_full",
        /// A response could not be restored safely.
        RestoreFailed = "restore_failed",
        /// The upstream could not be reached or verified.
        UpstreamFailed = "upstream_failed",
        /// WebSocket is not offered.
        WebsocketOff = "websocket_off",
        /// The request is signed over bytes that would change.
        SignedRequest = "signed_request",
    }
}

words! {
    /// Why a session ended.
    EndedBy {
        /// Another session began on its connection.
        Changed = "changed",
        /// Nothing came for a while.
        Idle = "idle",
        /// The proxy ended.
        Shutdown = "shutdown",
        /// The proxy or auditd crashed; totals from the log.
        Recovered = "recovered",
    }
}

words! {
    /// Why keys were rotated.
    RotationReason {
        /// It was time.
        Scheduled = "scheduled",
        /// The old key may be known to others.
        Compromise = "compromise",
    }
}

words! {
    /// What kind of evidence somebody outside holds.
    AnchorKind {
        /// A C2SP witness cosignature.
        Witness = "witness",
        /// An RFC 3161 time-stamp token.
        Rfc3161 = "rfc3161",
        /// A checkpoint kept by hand.
        Manual = "manual",
    }
}

words! {
    /// Which way the wall clock jumped.
    StepDirection {
        /// Into the future.
        Forward = "forward",
        /// Into the past.
        Back = "back",
    }
}

words! {
    /// How the disk is.
    DiskState {
        /// Below the warning threshold.
        Low = "low",
        /// Only the reserve is left; nothing may leave.
        Reserve = "reserve",
        /// Above it again.
        Recovered = "recovered",
    }
}
