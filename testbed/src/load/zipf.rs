//! Requests as people make them: a few objects are asked for all the time, most hardly ever (Zipf's law).
//!
//! One seed gives one trace, on every machine and at any time: traces of different programs can be compared.

use kollator_core::machine::Rng;

/// Weights are whole multiples of 2^-32, so that the last digit of a machine's powers decides nothing.
const SCALE: f64 = (1u64 << 32) as f64;

/// Draws numbers from 0 on, number `n` with a probability in proportion to 1/(n + 1)^exponent.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// The sum of all weights up to and including that of each number.
    sums: Vec<u64>,
}

impl Zipf {
    /// Over the numbers below `objects`; an exponent of 0 makes all equally likely.
    ///
    /// # Panics
    /// If there are no objects, or the exponent is negative or not finite.
    #[must_use]
    pub fn new(objects: usize, exponent: f64) -> Self {
        assert!(objects > 0, "nothing to draw from");
        assert!(exponent.is_finite() && exponent >= 0.0, "an exponent of {exponent}");
        let sums = (1..=objects).scan(0, |sum, rank| {
            // No object is so rare that it is never drawn.
            *sum += ((rank as f64).powf(-exponent) * SCALE).round().max(1.0) as u64;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// How many numbers there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.sums.len()
    }

    /// A number.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        let total = *self.sums.last().expect("there are objects");
        let point = rng.below(total);
        self.sums.partition_point(|sum| *sum <= point)
    }

    /// As many numbers as there are requests.
    #[must_use]
    pub fn trace(&self, requests: usize, seed: u64) -> Vec<usize> {
        let mut rng = Rng::new(seed);
        (0..requests).map(|_| self.draw(&mut rng)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_as_often_as_zipf_says() {
        const REQUESTS: usize = 400_000;
        for (objects, exponent) in [(1, 0.9), (10, 0.0), (225, 0.9), (50, 2.0)] {
            let mut counts = vec![0u32; objects];
            for number in Zipf::new(objects, exponent).trace(REQUESTS, 7) {
                counts[number] += 1;
            }
            let weight = |rank: usize| (rank as f64).powf(-exponent);
            let total: f64 = (1..=objects).map(weight).sum();
            for (number, &count) in counts.iter().enumerate() {
                let expected = REQUESTS as f64 * weight(number + 1) / total;
                let error = (f64::from(count) - expected).abs();
                assert!(error <= 5.0 * expected.sqrt() + 1.0, "{number} of {objects}: {count}, not {expected}");
            }
        }
    }

    #[test]
    fn a_seed_gives_one_trace() {
        let zipf = Zipf::new(225, 0.9);
        assert_eq!(zipf.trace(1000, 1), zipf.trace(1000, 1));
        assert_ne!(zipf.trace(1000, 1), zipf.trace(1000, 2));
        assert_eq!(zipf.trace(12, 1)[..6], zipf.trace(6, 1)[..]);
        // What another program drew from it must stay comparable.
        assert_eq!(zipf.trace(8, 1), [8, 4, 1, 13, 41, 0, 2, 104]);
    }
}
