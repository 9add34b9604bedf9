//! Measures signatures per second of one core: `cargo run --release -p posthaste-dkim --example sign_speed`.

use std::{hint::black_box, time::Duration};

use posthaste_dkim::{Algorithm, Key, Signer, SignerOptions};

const HEADER: &str = "From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: Hello\r\nDate: Mon, 23 Nov 2026 10:11:12 +0000\r\n\
    Message-ID: <1@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
const LINE: &str = "The quick brown fox jumps over the lazy dog; 0123456789\r\n";

#[expect(clippy::print_stdout, reason = "it prints its results")]
fn main() {
    for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
        for size in [10_000, 100_000] {
            let (key, _) = Key::generate(algorithm).expect("the crypto library makes keys");
            let signer = Signer::new("example.com", "s1", key, &SignerOptions::default()).expect("a plain domain and selector");
            let body = LINE.repeat(size / LINE.len());
            let (start, mut count) = (processor_time(), 0u32);
            while processor_time() - start < Duration::from_secs(3) {
                for _ in 0..100 {
                    black_box(signer.sign(&[HEADER.as_bytes(), body.as_bytes()], 1_790_000_000).expect("the message has a From"));
                }
                count += 100;
            }
            println!("{algorithm}, {size} bytes: {:.0} signatures/s", f64::from(count) / (processor_time() - start).as_secs_f64());
        }
    }
}

/// The processor time of this process; the wall clock would count other processes too.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux keeps scheduler statistics");
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds come first"))
}
