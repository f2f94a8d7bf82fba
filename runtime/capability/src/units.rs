//! Amounts, each of its own type so that one cannot stand for another.

use std::fmt;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $singular:literal, $plural:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// This many.
            pub const fn new(amount: u64) -> Self {
                Self(amount)
            }

            /// How many.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                grouped(f, self.0)?;
                f.write_str(if self.0 == 1 { $singular } else { $plural })
            }
        }
    };
}

unit! {
    /// WebAssembly instructions, as wasmtime counts them: about one for each.
    Fuel, " unit of fuel", " units of fuel"
}
unit! {
    /// Bytes.
    Bytes, " byte", " bytes"
}
unit! {
    /// Tokens of a model, prompt and completion together.
    Tokens, " token", " tokens"
}
unit! {
    /// Milliseconds.
    Millis, " millisecond", " milliseconds"
}
unit! {
    /// Resources of the host that a guest holds open.
    Handles, " handle", " handles"
}
unit! {
    /// Calls into the host.
    Calls, " call", " calls"
}

/// Digits in groups of three.
fn grouped(f: &mut fmt::Formatter<'_>, amount: u64) -> fmt::Result {
    let digits = amount.to_string();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            f.write_str(",")?;
        }
        write!(f, "{digit}")?;
    }
    Ok(())
}
