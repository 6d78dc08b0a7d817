//! smoke
use std::io::{BufReader, Read, Seek, Write};
use std::net::*;
use zc_std::*;
#[test]
fn smoke() {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut c = TcpStream::connect(l.local_addr().unwrap()).unwrap();
    let (s, _) = l.accept().unwrap();
    let data: Vec<u8> = (0..5_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let d2 = data.clone();
    let t = std::thread::spawn(move || c.write_all(&d2).unwrap());
    let mut f = tempfile::tempfile().unwrap();
    let rec = hook::record();
    let mut limited = (&s).take(4_000_000);
    assert_eq!(f.read_from(&mut limited).unwrap(), 4_000_000);
    assert_eq!(limited.limit(), 0);
    let r = Copier::new().copy(&mut BufReader::new(&s), &mut f).unwrap();
    t.join().unwrap();
    eprintln!("{r:?}");
    for c in rec.calls().iter().take(20) {
        eprintln!("{c:?}");
    }
    f.rewind().unwrap();
    let mut got = vec![];
    f.read_to_end(&mut got).unwrap();
    assert!(got == data);
}
