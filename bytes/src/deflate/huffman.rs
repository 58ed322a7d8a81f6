//! The codes of a block: made from how often each symbol stands in it, and written before it.
//!
//! Promises: complete codes of at most 15 bits (seven in the code of the lengths of the others), at least
//! two in each.

const BITS_MAX: usize = 15;
/// The code by which the lengths of the others are written.
const LENGTH_CODES: usize = 19;
const LENGTH_CODE_BITS_MAX: usize = 7;
const LENGTH_CODE_ORDER: [usize; LENGTH_CODES] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Of the codes for symbols and for distances so many are always written.
const SYMBOLS_MIN: usize = 257;
const DISTANCES_MIN: usize = 1;
const LENGTH_CODES_MIN: usize = 4;

/// As it stands in a block, the first bit lowest, and how many bits it has.
pub(super) type Code = (u32, u32);

pub(super) struct Codes {
    pub(super) symbols: Vec<Code>,
    pub(super) distances: Vec<Code>,
    length_codes: Vec<Code>,
    /// The lengths of the others in that code: a symbol, then a value of so many bits.
    lengths_coded: Vec<(usize, Code)>,
}

impl Codes {
    pub(super) fn new(symbols: &[u32], distances: &[u32]) -> Codes {
        let (symbols, distances) = (codes(symbols, BITS_MAX), codes(distances, BITS_MAX));
        let lengths = symbols[..used(&symbols, SYMBOLS_MIN)].iter();
        let lengths = lengths.chain(&distances[..used(&distances, DISTANCES_MIN)]);
        let lengths: Vec<u32> = lengths.map(|code| code.1).collect();
        let mut lengths_coded = Vec::new();
        for run in lengths.chunk_by(|one, other| one == other) {
            add_run(run[0], run.len(), &mut lengths_coded);
        }
        let mut counts = [0; LENGTH_CODES];
        lengths_coded.iter().for_each(|(code, _)| counts[*code] += 1);
        Codes {
            symbols,
            distances,
            length_codes: codes(&counts, LENGTH_CODE_BITS_MAX),
            lengths_coded,
        }
    }

    /// How many bits the head takes, with symbols and distances that stand so often.
    pub(super) fn bits(&self, symbols: &[u32], distances: &[u32]) -> usize {
        let mut bits = 0;
        self.write_header(|(_, count)| bits += count as usize);
        let coded = self.symbols.iter().zip(symbols).chain(self.distances.iter().zip(distances));
        bits + coded.map(|(code, count)| *count as usize * code.1 as usize).sum::<usize>()
    }

    /// The head of a block that is not the last.
    pub(super) fn write_header(&self, mut put: impl FnMut(Code)) {
        let in_order = LENGTH_CODE_ORDER.map(|at| self.length_codes[at]);
        let length_codes = used(&in_order, LENGTH_CODES_MIN);
        put((0b100, 3));
        put(((used(&self.symbols, SYMBOLS_MIN) - SYMBOLS_MIN) as u32, 5));
        put(((used(&self.distances, DISTANCES_MIN) - DISTANCES_MIN) as u32, 5));
        put(((length_codes - LENGTH_CODES_MIN) as u32, 4));
        in_order[..length_codes].iter().for_each(|(_, length)| put((*length, 3)));
        for (at, more) in &self.lengths_coded {
            put(self.length_codes[*at]);
            put(*more);
        }
    }
}

/// How many of the codes must be written.
fn used(codes: &[Code], least: usize) -> usize {
    codes.iter().rposition(|(_, length)| *length > 0).map_or(0, |last| last + 1).max(least)
}

/// So many equal lengths in a row. Only those of zero are many.
fn add_run(length: u32, count: usize, lengths_coded: &mut Vec<(usize, Code)>) {
    let mut left = count;
    while left > 0 {
        let (code, least, most, bits) = match (length, left) {
            (0, 11..) => (18, 11, 138, 7),
            (0, 3..) => (17, 3, 10, 3),
            _ => (length as usize, 1, 1, 0),
        };
        let now = left.min(most);
        lengths_coded.push((code, ((now - least) as u32, bits)));
        left -= now;
    }
}

/// Codes of at most `bits_max` bits for symbols that stand so often.
fn codes(counts: &[u32], bits_max: usize) -> Vec<Code> {
    let weighed = |(symbol, count): (usize, &u32)| (*count > 0).then_some((*count, symbol));
    let mut used: Vec<(u32, usize)> = counts.iter().enumerate().filter_map(weighed).collect();
    // A code of one symbol is complete for no inflater: those that stand nowhere fill it up.
    let spare = (0..counts.len()).filter(|symbol| counts[*symbol] == 0);
    used.extend(spare.map(|symbol| (0, symbol)).take(2_usize.saturating_sub(used.len())));
    let mut lengths = vec![0; counts.len()];
    loop {
        used.sort_unstable();
        let depths = depths(&used);
        if depths.iter().all(|depth| *depth <= bits_max) {
            used.iter().zip(depths).for_each(|((_, symbol), depth)| lengths[*symbol] = depth);
            break;
        }
        // The more alike the weights, the flatter the tree.
        used.iter_mut().for_each(|(weight, _)| *weight = *weight / 2 + 1);
    }
    let mut next = [0_u16; BITS_MAX + 2];
    for length in 1..=BITS_MAX {
        let count = lengths.iter().filter(|this| **this == length).count() as u16;
        next[length + 1] = (next[length] + count) << 1;
    }
    let code = |length: usize| {
        let bits = u32::from(next[length].reverse_bits()) >> (16 - length);
        next[length] += u16::from(length > 0);
        (bits, length as u32)
    };
    lengths.into_iter().map(code).collect()
}

/// How deep each leaf of Huffman's tree lies: the two lightest are joined, again and again. The leaves are
/// given by weight, and what is joined comes by weight as well, so that two queues are enough.
fn depths(leaves: &[(u32, usize)]) -> Vec<usize> {
    let count = leaves.len();
    let mut weights: Vec<u32> = leaves.iter().map(|(weight, _)| *weight).collect();
    let mut parents = vec![0; 2 * count - 1];
    let (mut leaf, mut joined) = (0, count);
    for parent in count..2 * count - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let is_leaf = leaf < count && (joined == parent || weights[leaf] <= weights[joined]);
            let next = if is_leaf { &mut leaf } else { &mut joined };
            weight += weights[*next];
            parents[*next] = parent;
            *next += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0; 2 * count - 1];
    for node in (0..2 * count - 2).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(count);
    depths
}
