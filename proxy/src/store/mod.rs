//! Plaintexts by placeholder, and signed thinking, per scope. Time is a value.
