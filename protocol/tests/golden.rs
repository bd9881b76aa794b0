//! One golden vector per variant of every message of every link.
//!
//! Both ends of a link are of one version, but a variant that moves re-means bytes already on the
//! wire of a half-restarted installation. A vector that has to change means: raise
//! [`protocol::hello::VERSION`]. The matches are exhaustive, so a variant without a vector does not
//! compile.

use protocol::append::{
    self, BlockReason, Event, KillSwitchAction, Outcome, Refusal, RequestRef, Sent,
};
use protocol::codec::{self, Malformed};
use protocol::control::{Hidden, Secret};
use protocol::evidence::hex;
use protocol::hello::{Hello, LinkName, Welcome};
use protocol::{audit_control, control, mint, seal};
use serde::{Serialize, de::DeserializeOwned};

const AT: RequestRef = RequestRef { inst: [0xa1; 8], req_no: 128 };

fn event(event: Event) -> append::Request {
    append::Request { id: 5, event }
}

fn hello(link: LinkName) -> Hello {
    Hello { link, version: 1, secret: [0x5a; 32] }
}

/// `message` is spelled `hex` and in no other way: not cut, not continued, not with its first
/// integer (each message begins with one) written longer than it is.
fn spells<M>(message: &M, hex: &str, cap: usize)
where
    M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = codec::encode(message);
    assert_eq!(hex::encode(&bytes), hex, "{message:?}");
    assert_eq!(codec::decode::<M>(&bytes).as_ref(), Ok(message));
    assert!(bytes.len() <= cap);
    for end in 0..bytes.len() {
        assert_eq!(codec::decode::<M>(&bytes[..end]), Err(Malformed::Undecodable), "{end}");
    }
    let continued = [bytes.as_slice(), &[0]].concat();
    assert_eq!(codec::decode::<M>(&continued), Err(Malformed::Trailing));
    let over_long = [&[bytes[0] | 0x80, 0], &bytes[1..]].concat();
    assert_eq!(codec::decode::<M>(&over_long), Err(Malformed::NotCanonical));
}

macro_rules! golden {
    ($test:ident: $type:ty, $cap:expr; $($pattern:pat => $message:expr, $hex:literal;)*) => {
        #[test]
        fn $test() {
            let _every_variant = |message: &$type| match message {
                $($pattern => (),)*
            };
            $({
                let message: $type = $message;
                assert!(matches!(message, $pattern));
                spells(&message, $hex, $cap);
            })*
        }
    };
}

golden! {
    mint_requests_keep_their_bytes: mint::Request, mint::CAP;
    mint::Request::Leaf { .. } =>
        mint::Request::Leaf { host: "a.b".into(), public_key: vec![4, 5] },
        "0003612e62020405";
    mint::Request::Names =>
        mint::Request::Names,
        "01";
}

golden! {
    mint_replies_keep_their_bytes: mint::Reply, mint::CAP;
    mint::Reply::Leaf { .. } =>
        mint::Reply::Leaf { certificate: vec![0x30, 0x82], not_after: 1_700_000_000 },
        "0002308280e2cfaa06";
    mint::Reply::Names(_) =>
        mint::Reply::Names(vec!["a".into(), "b".into()]),
        "010201610162";
    mint::Reply::Refused(mint::Refusal::NameNotPermitted) =>
        mint::Reply::Refused(mint::Refusal::NameNotPermitted),
        "0200";
    mint::Reply::Refused(mint::Refusal::KeyNotAccepted) =>
        mint::Reply::Refused(mint::Refusal::KeyNotAccepted),
        "0201";
    mint::Reply::Refused(mint::Refusal::RateLimited) =>
        mint::Reply::Refused(mint::Refusal::RateLimited),
        "0202";
    mint::Reply::Refused(mint::Refusal::Internal) =>
        mint::Reply::Refused(mint::Refusal::Internal),
        "0203";
}

golden! {
    seal_requests_keep_their_bytes: seal::Request, seal::CAP;
    seal::Request::SignCheckpoint { .. } =>
        seal::Request::SignCheckpoint {
            old_size: 1,
            new_size: 300,
            new_root: [0xaa; 32],
            proof: vec![[0xbb; 32]],
            in_log: true,
        },
        "0001ac02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb01";
    seal::Request::Status =>
        seal::Request::Status,
        "01";
    seal::Request::SignManifest { .. } =>
        seal::Request::SignManifest {
            manifest_sha256: [0xab; 32],
            tree_size: 300,
            root: [0xaa; 32],
        },
        "02ababababababababababababababababababababababababababababababababac02\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
}

golden! {
    seal_replies_keep_their_bytes: seal::Reply, seal::CAP;
    seal::Reply::Signed { .. } =>
        seal::Reply::Signed { signature: vec![0xcc; 64], key_id: [1, 2, 3, 4] },
        "0040cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\
         cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc01020304";
    seal::Reply::Status(_) =>
        seal::Reply::Status(seal::Status {
            origin: "o".into(),
            size: 128,
            root: [0xdd; 32],
            log_vkey: "l".into(),
            evidence_vkey: "e".into(),
            recovery_vkey: Some("r".into()),
        }),
        "01016f8001dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\
         dd016c0165010172";
    seal::Reply::Refused(seal::Refusal::Conflict { .. }) =>
        seal::Reply::Refused(seal::Refusal::Conflict { size: 9 }),
        "020009";
    seal::Reply::Refused(seal::Refusal::Smaller) =>
        seal::Reply::Refused(seal::Refusal::Smaller),
        "0201";
    seal::Reply::Refused(seal::Refusal::Fork) =>
        seal::Reply::Refused(seal::Refusal::Fork),
        "0202";
    seal::Reply::Refused(seal::Refusal::BadProof) =>
        seal::Reply::Refused(seal::Refusal::BadProof),
        "0203";
    seal::Reply::Refused(seal::Refusal::RateLimited) =>
        seal::Reply::Refused(seal::Refusal::RateLimited),
        "0204";
    seal::Reply::Refused(seal::Refusal::Internal) =>
        seal::Reply::Refused(seal::Refusal::Internal),
        "0205";
    seal::Reply::Refused(seal::Refusal::NotSigned) =>
        seal::Reply::Refused(seal::Refusal::NotSigned),
        "0206";
}

golden! {
    append_requests_keep_their_bytes: append::Request, append::CAP;
    append::Request { event: Event::Policy { .. }, .. } =>
        event(Event::Policy { canonical: vec![0x7b, 0x7d] }),
        "0500027b7d";
    append::Request { event: Event::Redaction { .. }, .. } =>
        event(Event::Redaction {
            at: AT,
            host: "h".into(),
            request_id: Some("q".into()),
            session_id: None,
            redactions: vec![append::Redaction {
                kind: "K".into(),
                hmac8: [6; 8],
                rule: "r".into(),
                count: 2,
            }],
            policy_hash: [7; 32],
            hkey: [8; 8],
        }),
        "0501a1a1a1a1a1a1a1a1800101680101710001014b060606060606060601720207070707\
         070707070707070707070707070707070707070707070707070707070808080808080808";
    append::Request { event: Event::ScanClean { .. }, .. } =>
        event(Event::ScanClean { at: AT, host: "h".into(), policy_hash: [7; 32] }),
        "0502a1a1a1a1a1a1a1a18001016807070707070707070707070707070707070707070707\
         07070707070707070707";
    append::Request { event: Event::Detokenization { .. }, .. } =>
        event(Event::Detokenization {
            at: AT,
            host: "h".into(),
            request_id: None,
            session_id: Some("s".into()),
            detok_count: 3,
            unknown_placeholders: 4,
            stream: true,
            part: 1,
            policy_hash: [7; 32],
        }),
        "0503a1a1a1a1a1a1a1a18001016800010173030401010707070707070707070707070707\
         070707070707070707070707070707070707";
    append::Request { event: Event::Block { .. }, .. } =>
        event(Event::Block {
            at: AT,
            host: None,
            reason: BlockReason::NotPermitted,
            policy_hash: None,
        }),
        "0504a1a1a1a1a1a1a1a18001000600";
    append::Request { event: Event::Outcome { .. }, .. } =>
        event(Event::Outcome { at: AT, sent: Sent::All, status: Some(200) }),
        "0505a1a1a1a1a1a1a1a180010201c801";
    append::Request { event: Event::KillSwitch { .. }, .. } =>
        event(Event::KillSwitch {
            action: KillSwitchAction::Cleared,
            sources_active: vec!["http".into()],
            inst: None,
            req_no: None,
            actor: Some("uid:0".into()),
            reason: Some("w".into()),
        }),
        "050601010468747470000001057569643a30010177";
    append::Request { event: Event::PolicyChange { .. }, .. } =>
        event(Event::PolicyChange {
            old_policy_hash: None,
            new_policy_hash: [7; 32],
            pattern_count: 31,
            actor: "a".into(),
        }),
        "05070007070707070707070707070707070707070707070707070707070707070707071f\
         0161";
    append::Request { event: Event::PolicyRefused { .. }, .. } =>
        event(Event::PolicyRefused { attempted_hash: Some([9; 32]), code: "c".into() }),
        "050801090909090909090909090909090909090909090909090909090909090909090901\
         63";
    append::Request { event: Event::Probe, .. } =>
        event(Event::Probe),
        "0509";
}

golden! {
    append_replies_keep_their_bytes: append::Reply, append::CAP;
    append::Reply { outcome: Outcome::Appended { .. }, .. } =>
        append::Reply { id: 5, outcome: Outcome::Appended { seq: 1000 } },
        "0500e807";
    append::Reply { outcome: Outcome::Refused(Refusal::OutOfGrammar), .. } =>
        append::Reply { id: 5, outcome: Outcome::Refused(Refusal::OutOfGrammar) },
        "050100";
    append::Reply { outcome: Outcome::Refused(Refusal::UnsignedTail), .. } =>
        append::Reply { id: 5, outcome: Outcome::Refused(Refusal::UnsignedTail) },
        "050101";
    append::Reply { outcome: Outcome::Refused(Refusal::DiskFull), .. } =>
        append::Reply { id: 5, outcome: Outcome::Refused(Refusal::DiskFull) },
        "050102";
    append::Reply { outcome: Outcome::Refused(Refusal::Poisoned), .. } =>
        append::Reply { id: 5, outcome: Outcome::Refused(Refusal::Poisoned) },
        "050103";
}

golden! {
    block_reasons_keep_their_bytes: BlockReason, append::CAP;
    BlockReason::PolicyBlock =>
        BlockReason::PolicyBlock,
        "00";
    BlockReason::ProtocolPosition =>
        BlockReason::ProtocolPosition,
        "01";
    BlockReason::Collision =>
        BlockReason::Collision,
        "02";
    BlockReason::Unparseable =>
        BlockReason::Unparseable,
        "03";
    BlockReason::TooLarge =>
        BlockReason::TooLarge,
        "04";
    BlockReason::UnsupportedEncoding =>
        BlockReason::UnsupportedEncoding,
        "05";
    BlockReason::NotPermitted =>
        BlockReason::NotPermitted,
        "06";
    BlockReason::ConfigError =>
        BlockReason::ConfigError,
        "07";
    BlockReason::HeaderHit =>
        BlockReason::HeaderHit,
        "08";
    BlockReason::EncodingCorrupt =>
        BlockReason::EncodingCorrupt,
        "09";
    BlockReason::Charset =>
        BlockReason::Charset,
        "0a";
    BlockReason::Multipart =>
        BlockReason::Multipart,
        "0b";
    BlockReason::ProtocolError =>
        BlockReason::ProtocolError,
        "0c";
    BlockReason::Overload =>
        BlockReason::Overload,
        "0d";
    BlockReason::StoreFull =>
        BlockReason::StoreFull,
        "0e";
    BlockReason::RestoreFailed =>
        BlockReason::RestoreFailed,
        "0f";
    BlockReason::UpstreamFailed =>
        BlockReason::UpstreamFailed,
        "10";
    BlockReason::WebsocketOff =>
        BlockReason::WebsocketOff,
        "11";
    BlockReason::SignedRequest =>
        BlockReason::SignedRequest,
        "12";
}

golden! {
    amounts_sent_keep_their_bytes: Sent, append::CAP;
    Sent::None =>
        Sent::None,
        "00";
    Sent::Partial =>
        Sent::Partial,
        "01";
    Sent::All =>
        Sent::All,
        "02";
}

golden! {
    kill_switch_actions_keep_their_bytes: KillSwitchAction, append::CAP;
    KillSwitchAction::Armed =>
        KillSwitchAction::Armed,
        "00";
    KillSwitchAction::Cleared =>
        KillSwitchAction::Cleared,
        "01";
    KillSwitchAction::Refused =>
        KillSwitchAction::Refused,
        "02";
}

golden! {
    control_requests_keep_their_bytes: control::Request, control::CAP;
    control::Request::Status =>
        control::Request::Status,
        "00";
    control::Request::Reload =>
        control::Request::Reload,
        "01";
    control::Request::Arm { .. } =>
        control::Request::Arm { reason: "w".into() },
        "020177";
    control::Request::Disarm { .. } =>
        control::Request::Disarm { reason: "w".into() },
        "030177";
    control::Request::Resolver { .. } =>
        control::Request::Resolver { resolv_conf: vec![0x6e], hosts: vec![] },
        "04016e00";
    control::Request::SecretAdd { .. } =>
        control::Request::SecretAdd { kind: "K".into(), value: Hidden::new(vec![0x76, 0xff]) },
        "05014b0276ff";
    control::Request::SecretList =>
        control::Request::SecretList,
        "06";
    control::Request::SecretRemove { which: control::Which::All } =>
        control::Request::SecretRemove { which: control::Which::All },
        "0700";
    control::Request::SecretRemove { which: control::Which::Id(_) } =>
        control::Request::SecretRemove { which: control::Which::Id(300) },
        "0701ac02";
    control::Request::SecretRemove { which: control::Which::Value(_) } =>
        control::Request::SecretRemove {
            which: control::Which::Value(Hidden::new(vec![0x76])),
        },
        "07020176";
}

golden! {
    control_replies_keep_their_bytes: control::Reply, control::CAP;
    control::Reply::Status { .. } =>
        control::Reply::Status { state: "{}".into() },
        "00027b7d";
    control::Reply::Done { .. } =>
        control::Reply::Done { sources_active: vec!["http".into()] },
        "01010468747470";
    control::Reply::Refused { .. } =>
        control::Reply::Refused { reason: "no".into() },
        "02026e6f";
    control::Reply::SecretAdded { .. } =>
        control::Reply::SecretAdded { id: 300, is_new: true },
        "03ac0201";
    control::Reply::Secrets { .. } =>
        control::Reply::Secrets {
            secrets: vec![Secret { id: 1, kind: "K".into(), added: 2, hits: 3 }],
        },
        "040101014b0203";
    control::Reply::SecretsRemoved { .. } =>
        control::Reply::SecretsRemoved { count: 2 },
        "0502";
}

golden! {
    audit_control_requests_keep_their_bytes: audit_control::Request, audit_control::CAP;
    audit_control::Request::Status =>
        audit_control::Request::Status,
        "00";
    audit_control::Request::Checkpoint =>
        audit_control::Request::Checkpoint,
        "01";
    audit_control::Request::Seal(_) =>
        audit_control::Request::Seal(audit_control::Seal {
            manifest_sha256: [0xab; 32],
            seq_range: (1, 300),
            tree_size: 300,
            root: [0xaa; 32],
            purpose: "p".into(),
        }),
        "02abababababababababababababababababababababababababababababababab01ac02\
         ac02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0170";
}

golden! {
    audit_control_replies_keep_their_bytes: audit_control::Reply, audit_control::CAP;
    audit_control::Reply::Status(_) =>
        audit_control::Reply::Status(audit_control::Status {
            origin: "o".into(),
            size: 300,
            signed_size: 299,
            signed_root: [0xee; 32],
            checkpoints: 2,
            unsigned_ms: 15,
            open: true,
            sandbox: "s".into(),
        }),
        "00016fac02ab02eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\
         eeeeee020f010173";
    audit_control::Reply::Checkpoint { .. } =>
        audit_control::Reply::Checkpoint { seq: 300 },
        "01ac02";
    audit_control::Reply::Sealed { .. } =>
        audit_control::Reply::Sealed { signature: vec![0xcc; 2], key_id: [1, 2, 3, 4] },
        "0202cccc01020304";
    audit_control::Reply::Refused(audit_control::Refusal::SignerAway) =>
        audit_control::Reply::Refused(audit_control::Refusal::SignerAway),
        "0300";
    audit_control::Reply::Refused(audit_control::Refusal::NotSigned) =>
        audit_control::Reply::Refused(audit_control::Refusal::NotSigned),
        "0301";
    audit_control::Reply::Refused(audit_control::Refusal::OutOfGrammar) =>
        audit_control::Reply::Refused(audit_control::Refusal::OutOfGrammar),
        "0302";
}

golden! {
    hellos_keep_their_bytes: Hello, protocol::hello::CAP;
    Hello { link: LinkName::Mint, .. } =>
        hello(LinkName::Mint),
        "00015a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
    Hello { link: LinkName::Seal, .. } =>
        hello(LinkName::Seal),
        "01015a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
    Hello { link: LinkName::Append, .. } =>
        hello(LinkName::Append),
        "02015a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
    Hello { link: LinkName::Control, .. } =>
        hello(LinkName::Control),
        "03015a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
    Hello { link: LinkName::AuditControl, .. } =>
        hello(LinkName::AuditControl),
        "04015a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
}

golden! {
    welcomes_keep_their_bytes: Welcome, protocol::hello::CAP;
    Welcome::Accepted =>
        Welcome::Accepted,
        "00";
    Welcome::WrongLink { .. } =>
        Welcome::WrongLink { here: LinkName::Seal },
        "0101";
    Welcome::WrongVersion { .. } =>
        Welcome::WrongVersion { here: 2 },
        "0202";
    Welcome::WrongSecret =>
        Welcome::WrongSecret,
        "03";
}
