//! How often a chunk was read, where a reading of long ago counts less than one of today.
//!
//! Never touches a clock: time is told in epochs, and each epoch halves the weight of all earlier ones. Heats of
//! different times can be compared as they are, for halving everything changes no order.

/// Bits of a mantissa below the highest: readings so many epochs apart are still added up exactly.
const PRECISION: u32 = 62;

/// The sum of 2^epoch over all readings, rounded down to 63 significant bits; compares as the sum does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Heat {
    // The order of fields is the order of heats: the mantissa is in 2^62..2^63, or all is zero.
    exponent: u32,
    mantissa: u64,
}

impl Heat {
    /// Never read.
    pub(super) const ZERO: Self = Self { exponent: 0, mantissa: 0 };

    /// Read once more, in an epoch that is none of before.
    pub(super) fn read_in(self, epoch: u32) -> Self {
        let reading = Self { exponent: epoch, mantissa: 1 << PRECISION };
        let (low, high) = if self < reading { (self, reading) } else { (reading, self) };
        let shift = high.exponent - low.exponent;
        let sum = high.mantissa + low.mantissa.checked_shr(shift).unwrap_or(0);
        match sum >> (PRECISION + 1) {
            0 => Self { exponent: high.exponent, mantissa: sum },
            _ => Self { exponent: high.exponent + 1, mantissa: sum >> 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a heat should be worth, as long as all epochs are below 60.
    fn exact(epochs: &[u32]) -> u128 {
        epochs.iter().map(|epoch| 1 << epoch).sum()
    }

    fn heat(epochs: &[u32]) -> Heat {
        epochs.iter().fold(Heat::ZERO, |heat, &epoch| heat.read_in(epoch))
    }

    fn epochs() -> impl Strategy<Value = Vec<u32>> {
        let epochs = proptest::collection::vec(0..52u32, 0..100);
        epochs.prop_map(|mut epochs| {
            epochs.sort_unstable();
            epochs
        })
    }

    proptest! {
        #[test]
        fn heats_compare_as_what_they_stand_for(a in epochs(), b in epochs()) {
            prop_assert_eq!(heat(&a).cmp(&heat(&b)), exact(&a).cmp(&exact(&b)));
        }

        #[test]
        fn a_reading_never_cools(a in epochs(), later in 52..u32::MAX) {
            prop_assert!(heat(&a).read_in(later) > heat(&a));
        }
    }
}
