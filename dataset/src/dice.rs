//! The fixed hash and the fixed generator behind every choice: same input, same files, on every machine.

/// FNV-1a with a final mix: names differ in their last letters, which FNV alone leaves in the low bits.
pub fn hash(text: &str) -> u64 {
    let fnv = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(fnv)
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Dice {
    state: u64,
}

impl Dice {
    /// A generator of its own for each purpose: a new group does not shift the draws of the others.
    pub fn named(purpose: &str) -> Self {
        Self { state: hash(purpose) }
    }

    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A whole number below `bound`, which must not be 0. The bias of the remainder is far below anything visible here.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    /// A whole number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.stepped(low, high, 1)
    }

    /// One of `low`, `low + step`, ... up to `high`.
    pub fn stepped(&mut self, low: i64, high: i64, step: i64) -> i64 {
        low + step * self.below(((high - low) / step + 1) as usize) as i64
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_and_the_generator_never_change() {
        // From a Python transcription of both algorithms; published files depend on them.
        assert_eq!(hash("strength/long-rests"), 0x5e71_1f1e_30ab_0add);
        let mut dice = Dice::named("train");
        assert_eq!([dice.below(1000), dice.below(1000), dice.below(1000)], [610, 423, 706]);
    }

    #[test]
    fn stepped_draws_stay_on_the_steps_and_reach_both_ends() {
        let mut dice = Dice::named("steps");
        let drawn: std::collections::BTreeSet<i64> = (0..200).map(|_| dice.stepped(10, 20, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [10, 15, 20]);
    }
}
