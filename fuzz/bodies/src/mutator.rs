//! Inputs made from kept ones, without a coverage tool: for a toolchain that has none. libFuzzer finds more in the same time.

use fastrand::Rng;

/// Values that sit at an edge of something.
const EDGES: [u64; 12] =
    [0, 1, 7, 15, 16, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 1 << 62, i64::MAX as u64, u64::MAX];

/// Longest input, in bytes.
pub const MAX_BYTES: usize = 4096;

/// Makes inputs out of a corpus.
///
/// ```
/// use strait_fuzz_bodies::mutator::{MAX_BYTES, Mutator};
///
/// let corpus = [b"something".to_vec()];
/// let mut one = Mutator::new(&corpus, 7);
/// let mut again = Mutator::new(&corpus, 7);
/// let first = one.next_input().to_vec();
/// assert!(first.len() <= MAX_BYTES);
/// assert_eq!(first, again.next_input(), "the same seed makes the same inputs");
/// ```
#[derive(Debug)]
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    rng: Rng,
    input: Vec<u8>,
}

impl<'a> Mutator<'a> {
    /// Begins with `seed`; the same seed and corpus make the same inputs.
    pub fn new(corpus: &'a [Vec<u8>], seed: u64) -> Self {
        Self { corpus, rng: Rng::with_seed(seed), input: Vec::new() }
    }

    /// The next input, at most [`MAX_BYTES`] long.
    pub fn next_input(&mut self) -> &[u8] {
        self.input.clear();
        if !self.corpus.is_empty() && self.rng.u8(..) != 0 {
            self.input.extend_from_slice(&self.corpus[self.rng.usize(..self.corpus.len())]);
        } else {
            let len = self.rng.usize(..256);
            self.input.extend(std::iter::repeat_with(|| self.rng.u8(..)).take(len));
        }
        for _ in 0..=self.rng.u8(..6) {
            self.mutate();
        }
        self.input.truncate(MAX_BYTES);
        &self.input
    }

    fn mutate(&mut self) {
        let (rng, input) = (&mut self.rng, &mut self.input);
        if input.is_empty() {
            return input.push(rng.u8(..));
        }
        let at = rng.usize(..input.len());
        match rng.u8(..8) {
            0 => input[at] ^= 1 << rng.u8(..8),
            1 => input[at] = rng.u8(..),
            2 => input.truncate(at),
            3 => input.insert(at, rng.u8(..)),
            4 => {
                let len = rng.usize(..=(input.len() - at).min(32));
                drop(input.drain(at..at + len));
            }
            5 => {
                let value = if rng.bool() { EDGES[rng.usize(..EDGES.len())] } else { rng.u64(..) };
                let width = [1, 2, 4, 8][rng.usize(..4)].min(input.len() - at);
                input[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            }
            6 => {
                let len = rng.usize(..=(input.len() - at).min(64));
                let copied = input[at..at + len].to_vec();
                let to = rng.usize(..=input.len());
                drop(input.splice(to..to, copied));
            }
            _ if self.corpus.is_empty() => input.push(rng.u8(..)),
            _ => {
                let other = &self.corpus[rng.usize(..self.corpus.len())];
                input.truncate(at);
                input.extend_from_slice(&other[rng.usize(..=other.len())..]);
            }
        }
    }
}
