//! Outward: secrets become placeholders. Pure.
