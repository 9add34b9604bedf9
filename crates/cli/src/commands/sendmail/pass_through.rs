//! `-bs`: the caller speaks SMTP with the relay.

use std::{
    io::{self, Read, Write, stdin},
    net::{Shutdown, TcpStream},
    thread,
};

use crate::screen;

/// Bytes of one piece.
const PIECE: usize = 16 << 10;

/// Passes bytes between the caller and the relay until the relay closes the connection.
pub(super) fn both_ways(stream: &TcpStream) -> io::Result<()> {
    let mut up = stream.try_clone()?;
    thread::spawn(move || {
        // An error here shows on the way back: the relay closes the connection.
        let _ = pass(&mut stdin().lock(), &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    pass(&mut &*stream, &mut screen::pipe())
}

/// Reads and writes. `io::copy` would have the kernel do it (splice), which holds a pipe while it waits for the socket, so that a caller at the other
/// end of the pipe cannot read what is in it and waits for ever.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&piece[..read])?;
        to.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead, net::TcpListener, sync::mpsc};

    use super::*;

    #[test]
    fn what_one_side_says_is_heard_before_it_says_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (relay, _) = listener.accept().unwrap();
        let (mut reader, mut writer) = io::pipe().unwrap();
        let passing = thread::spawn(move || pass(&mut &stream, &mut writer));
        let (heard, answers) = mpsc::channel();
        let listening = thread::spawn(move || {
            let mut reader = io::BufReader::new(&mut reader);
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 0 {
                heard.send(std::mem::take(&mut line)).unwrap();
            }
        });
        for reply in ["220 a\r\n", "250 b\r\n", "354 c\r\n"] {
            (&relay).write_all(reply.as_bytes()).unwrap();
            assert_eq!(answers.recv_timeout(std::time::Duration::from_secs(30)).unwrap(), reply);
        }
        drop(relay);
        passing.join().unwrap().unwrap();
        listening.join().unwrap();
    }
}
