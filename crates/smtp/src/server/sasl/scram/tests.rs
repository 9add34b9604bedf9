use super::{
    super::{Credentials, Exchange, Turn},
    *,
};

/// RFC 7677 §3's example: user `user`, password `pencil`.
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";

fn keys() -> ScramKeys {
    ScramKeys::derive("pencil", &STANDARD.decode(SALT).unwrap(), 4096)
}

fn opening(plus: bool, announced_plus: bool) -> Exchange {
    Exchange::Scram(Opening { plus, announced_plus })
}

/// The client's side, written from RFC 5802 §3 alone: its last message for what it said first and was answered.
fn client_final(password: &str, header: &str, binding: &[u8], bare: &str, challenge: &str) -> String {
    let mut parts = challenge.split(',').map(|part| &part[2..]);
    let (nonce, salt, rounds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &STANDARD.decode(salt).unwrap(), password.as_bytes(), &mut salted);
    let client_key = tag(&Key::new(HMAC_SHA256, &salted), b"Client Key");
    let without_proof = format!("c={},r={nonce}", STANDARD.encode([header.as_bytes(), binding].concat()));
    let signature = tag(&Key::new(HMAC_SHA256, &sha256(&client_key)), format!("{bare},{challenge},{without_proof}").as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(k, s)| k ^ s).collect();
    format!("{without_proof},p={}", STANDARD.encode(proof))
}

/// From the first message to the question behind the last.
fn run(exchange: Exchange, header: &str, binding: &[u8], password: &str, tls: Option<&Bindings>) -> Turn {
    let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
    let (exchange, turn) = exchange.hear(format!("{header}{bare}").as_bytes(), tls);
    if turn != Turn::Ask(Credentials::Keys { user: "user".into() }) {
        return turn;
    }
    let (exchange, turn) = exchange.keys(&keys(), &[7; 18]);
    let Turn::Challenge(challenge) = turn else { panic!("{turn:?}") };
    let last = client_final(password, header, binding, bare, str::from_utf8(&challenge).unwrap());
    exchange.hear(last.as_bytes(), tls).1
}

#[test]
fn the_example_of_rfc_7677_holds_on_both_sides() {
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let challenge = format!("r={nonce},s={SALT},i=4096");
    let first = First {
        user: "user".into(),
        client_nonce: "rOprNGfwEbeRWgbNEkqO".into(),
        bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".into(),
        bound: b"n,,".to_vec(),
    };
    let second = Second { first, nonce: nonce.into(), challenge, keys: keys() };
    let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let (exchange, turn) = Exchange::ScramProof(second).hear(last.as_bytes(), None);
    assert_eq!(turn, Turn::Ask(Credentials::Proven { user: "user".into() }));
    let signature = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
    assert_eq!(exchange, Exchange::ScramProven { user: "user".into(), signature });
}

#[test]
fn only_the_right_password_proves_anything() {
    let proven = Turn::Ask(Credentials::Proven { user: "user".into() });
    assert_eq!(run(opening(false, false), "n,,", b"", "pencil", None), proven);
    assert_eq!(run(opening(false, false), "y,,", b"", "pencil", None), proven);
    assert_eq!(run(opening(false, false), "n,a=user,", b"", "pencil", None), proven);
    assert_eq!(run(opening(false, false), "n,,", b"", "pencils", None), Turn::Wrong { user: "user".into() });
}

#[test]
fn plus_holds_only_for_the_connection_it_is_bound_to() {
    let tls = Bindings { exporter: Some([5; 32]), server_end_point: Some(vec![6; 48]) };
    let proven = Turn::Ask(Credentials::Proven { user: "user".into() });
    let wrong = Turn::Wrong { user: "user".into() };
    let plus = |header: &str, binding: &[u8]| run(opening(true, true), header, binding, "pencil", Some(&tls));
    assert_eq!(plus("p=tls-exporter,,", &[5; 32]), proven);
    assert_eq!(plus("p=tls-server-end-point,,", &[6; 48]), proven);
    assert_eq!(plus("p=tls-exporter,,", &[4; 32]), wrong, "of another connection, as with somebody in the middle");
    assert!(matches!(plus("n,,", b""), Turn::Malformed(_)));
    assert!(matches!(plus("p=tls-unique,,", &[5; 32]), Turn::Malformed(_)));
    let downgraded = run(opening(false, true), "y,,", b"", "pencil", Some(&tls));
    assert_eq!(downgraded, Turn::Malformed("SCRAM-SHA-256-PLUS was offered"));
    assert!(matches!(run(opening(false, true), "p=tls-exporter,,", &[5; 32], "pencil", Some(&tls)), Turn::Malformed(_)));
}

#[test]
fn a_decoy_is_stable_differs_by_name_and_lets_nobody_in() {
    let decoy = |user| ScramKeys::decoy(b"secret", user, 4096, 16);
    assert_eq!(decoy("a"), decoy("a"));
    assert_ne!(decoy("a").salt, decoy("b").salt);
    assert_ne!(decoy("a").salt, ScramKeys::decoy(b"other", "a", 4096, 16).salt);
    let (exchange, _) = opening(false, false).hear(b"n,,n=user,r=abc", None);
    let (exchange, turn) = exchange.keys(&decoy("user"), &[0; 18]);
    let Turn::Challenge(challenge) = turn else { panic!("{turn:?}") };
    let last = client_final("", "n,,", b"", "n=user,r=abc", str::from_utf8(&challenge).unwrap());
    assert_eq!(exchange.hear(last.as_bytes(), None).1, Turn::Wrong { user: "user".into() });
}

#[test]
fn names_are_unescaped_and_nothing_else_is_taken() {
    assert_eq!(name("a=2Cb=3Dc").as_deref(), Some("a,b=c"));
    for bad in ["", "a=", "a=2", "a=2c", "a=41", "=\u{e9}\u{e9}", "a\0"] {
        assert_eq!(name(bad), None, "{bad:?}");
    }
    for bad in ["", "n", "n,,", "n,,n=user", "n,,r=x,n=user", "n,,n=user,r=", "x,,n=user,r=a", "n,b=c,n=user,r=a", "n,a=other,n=user,r=a"] {
        let (_, turn) = opening(false, false).hear(bad.as_bytes(), None);
        assert!(matches!(turn, Turn::Malformed(_)), "{bad:?}: {turn:?}");
    }
}
