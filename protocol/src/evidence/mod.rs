//! The bytes of the evidence log, and how to verify them without trusting their writer.
