//! One file, many readers: words of 8 bytes that tell where in the file they were, even if a stream of them is cut.
//!
//! A word begins with the only byte that has its top bit set, goes on with its number in four bytes, and ends with
//! three of a hash of that.

/// How long a word is, in bytes.
pub const LEN: usize = 8;

/// A file of `count` words.
pub fn words(count: u32) -> Vec<u8> {
    (0..count).flat_map(word).collect()
}

fn word(number: u32) -> [u8; LEN] {
    let digit = |of: u32, place: u32| (of >> (7 * place)) as u8 & 0x7f;
    let hash = number.wrapping_mul(0x9e37_79b1) ^ number.rotate_left(13);
    let mut word = [0x80 | digit(hash, 3); LEN];
    for place in 0..4 {
        word[1 + place as usize] = digit(number, place);
    }
    for place in 0..3 {
        word[5 + place as usize] = digit(hash, place);
    }
    word
}

/// The numbers of the words that are whole in `stream`, in order.
fn found(stream: &[u8]) -> Vec<u32> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(bytes) = stream.get(at..at + LEN) {
        let digits = bytes[1..5].iter().rev();
        let number = digits.fold(0, |number, &digit| number << 7 | u32::from(digit));
        if bytes[0] & 0x80 != 0 && word(number) == *bytes {
            found.push(number);
            at += LEN;
        } else {
            at += 1;
        }
    }
    found
}

/// What several readers of one file got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Bytes that they got, all together.
    pub total: usize,
    /// Words that two readers got, or one of them twice.
    pub doubled: usize,
    /// Words that are whole in no stream.
    pub unseen: usize,
    /// Words that came after one that is behind them in the file.
    pub disorder: usize,
}

/// How a file of `count` words was shared out in `streams`.
pub fn shares(count: u32, streams: &[Vec<u8>]) -> Shares {
    let mut seen = vec![0_u32; count as usize];
    let mut disorder = 0;
    for stream in streams {
        let found = found(stream);
        disorder += found.windows(2).filter(|pair| pair[0] >= pair[1]).count();
        found.iter().for_each(|&number| seen[number as usize] += 1);
    }
    Shares {
        total: streams.iter().map(Vec::len).sum(),
        doubled: seen.iter().filter(|&&times| times > 1).count(),
        unseen: seen.iter().filter(|&&times| times == 0).count(),
        disorder,
    }
}

/// Asserts that `streams` are what several readers of one file of `count` words got: every byte once, and in each
/// stream in the order of the file.
///
/// A word that was cut ends one reader's piece and begins another's. Only its bytes are looked for.
///
/// # Panics
///
/// If they are not.
#[track_caller]
pub fn assert_shared(count: u32, streams: &[Vec<u8>]) {
    let Shares { total, doubled, unseen, disorder } = shares(count, streams);
    let whole = count as usize * LEN;
    let lens: Vec<_> = streams.iter().map(Vec::len).collect();
    assert!(
        doubled == 0 && disorder == 0 && total == whole,
        "read {total} of {whole} bytes ({lens:?}): of {count} words {doubled} more than once, \
         {unseen} by nobody, {disorder} out of order"
    );
}
