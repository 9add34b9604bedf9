//! A receiver for trials: it takes every message and prints it. `cargo run --release -p posthaste-smtp --example sink -- [ADDRESS]`; the
//! address is 127.0.0.1:2526 unless another one is given.
#![allow(clippy::print_stdout)]

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2526".into());
    let listener = TcpListener::bind(&address)?;
    println!("taking all mail at {address}");
    for stream in listener.incoming() {
        let stream = stream?;
        // A sender that goes away in the middle of a message is no trouble of the sink's.
        thread::spawn(move || drop(take(stream)));
    }
    Ok(())
}

/// One session (RFC 5321), without looking at what the sender says.
fn take(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 sink ready\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" | "HELO" => "250 sink",
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                while let Some(line) = lines.next().transpose()?.filter(|line| line != ".") {
                    println!("  {}", line.strip_prefix('.').unwrap_or(&line));
                }
                "250 2.0.0 taken"
            }
            "QUIT" => return stream.write_all(b"221 2.0.0 bye\r\n"),
            _ => {
                println!("{line}");
                "250 2.0.0 fine"
            }
        };
        stream.write_all(format!("{reply}\r\n").as_bytes())?;
    }
    Ok(())
}
