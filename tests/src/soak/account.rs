//! How many of the expected bytes are there, and how often.

use std::collections::HashMap;

/// This many bytes of a stream tell where in it they are.
const WINDOW: usize = 16;

/// About how many bytes of `want` are missing from `got`, and how many in `got` are too many. Exactly (0, 0) if both
/// are the same.
pub(super) fn lost_and_doubled(want: &[u8], got: &[u8]) -> (u64, u64) {
    if want == got {
        return (0, 0);
    }
    let places: HashMap<&[u8], usize> = want.windows(WINDOW).zip(0..).collect();
    let mut seen = vec![false; want.len()];
    let (mut doubled, mut at) = (0, 0);
    while at < got.len() {
        let place = got.get(at..at + WINDOW).and_then(|window| places.get(window));
        let same = place.map_or(0, |&place| {
            let same = want[place..].iter().zip(&got[at..]).take_while(|(one, two)| one == two);
            let seen = seen[place..].iter_mut().zip(same);
            seen.map(|(seen, _)| doubled += u64::from(std::mem::replace(seen, true))).count()
        });
        doubled += u64::from(same == 0);
        at += same.max(1);
    }
    let lost = seen.iter().filter(|&&seen| !seen).count() as u64;
    // Bytes in another order are there once each, and wrong all the same.
    (lost, if lost == 0 { doubled.max(1) } else { doubled })
}
