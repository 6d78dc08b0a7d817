//! `copy!`: a copy between types that may have opted in or not.

/// Copies all of a reader into a writer, as [`copy()`](crate::copy()) does, whether or not their types have opted
/// in. One that has not is only read from, or written to, as an [`Opaque`](crate::Opaque) one is.
///
/// The compiler decides by the type of each side, at no cost when the program runs. So a program can say
/// `copy!` for any types, and the kernel moves the bytes where it can:
///
/// ```
/// use std::io::Read;
///
/// /// Has never heard of zc.
/// struct Zeros;
/// impl Read for Zeros {
///     fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
///         buf.fill(0);
///         Ok(buf.len())
///     }
/// }
///
/// let mut file = tempfile::tempfile()?;
/// zc_std::copy!(&mut Zeros.take(100_000), &mut file)?;
/// # use std::io::Seek;
/// # file.rewind()?;
/// let mut null = std::fs::File::create("/dev/null")?;
/// assert_eq!(zc_std::copy!(&mut file, &mut null)?, 100_000);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Both arguments are `&mut` references, and the result is that of [`copy()`](crate::copy()).
///
/// # In generic code
///
/// The compiler decides where the macro stands, by what is known there. In a function that says `R: Read` no more
/// is known, and an `R` is only read from, even if the caller hands in a `File`. [`probe`](crate::probe) is for
/// these.
#[macro_export]
macro_rules! copy {
    ($reader:expr, $writer:expr $(,)?) => {
        match ($crate::pick::reader($reader), $crate::pick::writer($writer)) {
            (reader, writer) => {
                #[allow(unused_imports)]
                use $crate::pick::{OptedInSink, OptedInSource, PlainSink, PlainSource};
                let source = (&$crate::pick::Side::of(&*reader)).source();
                let sink = (&$crate::pick::Side::of(&*writer)).sink();
                $crate::copy(&mut source.wrap(reader), &mut sink.wrap(writer))
            }
        }
    };
}
