//! `copy!` takes anything that reads, by `&mut` reference: the first complaint says what is missing.

struct NoReader;

fn main() {
    zc_std::copy!(&mut NoReader, &mut std::io::sink()).unwrap();
    zc_std::copy!(std::io::empty(), &mut std::io::sink()).unwrap();
}
