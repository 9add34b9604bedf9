//! Verifies passwords on blocking threads, a limited number at once, without revealing whether a user exists.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use posthaste_smtp::server::sasl::ScramKeys;
use tokio::sync::Semaphore;

use super::{Decoys, User, Users, password::PASSWORD_MAX, password::PasswordHash};

/// How long a right password is remembered: an application that connects for each message costs one hash in this time.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Right passwords remembered at once.
const REMEMBERED_MAX: usize = 4096;
/// Checks that may wait, for each concurrent one. Beyond that, clients are told to try again later.
const WAITING_PER_TURN: usize = 64;
/// Concurrent checks at most: each takes 19 MiB.
const TURNS_MAX: usize = 8;

/// The outcome of a login check.
#[derive(Debug, Clone)]
pub enum LoginCheck {
    /// The credentials are this user's.
    Right(Arc<User>),
    /// The credentials are wrong, or there is no such user.
    Wrong,
    /// It cannot be checked at present: too many checks are waiting, or the introspection endpoint does not answer.
    Busy,
}

/// Checks passwords.
#[derive(Debug)]
pub struct Passwords {
    turns: Semaphore,
    waiting: Semaphore,
    /// The key of `remembered`, which never leaves this process.
    secret: [u8; 32],
    decoys: Decoys,
    /// Keyed hashes of right passwords, with the time until which they count.
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    /// The hash checked for unknown names if no user has a password. It is made when it is needed: most relays never do, and making it takes
    /// 19 MiB.
    nobody: OnceLock<PasswordHash>,
}

impl Passwords {
    /// Allows as many concurrent checks as there are cores, but at most eight.
    pub fn new(decoys: Decoys) -> Self {
        let turns = std::thread::available_parallelism().map_or(2, usize::from).min(TURNS_MAX);
        Self {
            turns: Semaphore::new(turns),
            waiting: Semaphore::new(turns * WAITING_PER_TURN),
            secret: rand::random(),
            decoys,
            remembered: Mutex::default(),
            nobody: OnceLock::new(),
        }
    }

    /// Checks `password` for the user called `name`. An unknown name takes as long as a known one.
    pub async fn check(&self, users: &Users, name: &str, password: &str, now: Instant) -> LoginCheck {
        if password.len() > PASSWORD_MAX {
            return LoginCheck::Wrong;
        }
        let user = users.get(name).filter(|user| user.password.is_some());
        let hash = user.and_then(|user| user.password.clone()).unwrap_or_else(|| self.decoy(users, name));
        let key = self.key(name, &hash, password);
        if let Some(user) = user.filter(|_| self.remembers(&key, now)) {
            return LoginCheck::Right(user.clone());
        }
        let Ok(_slot) = self.waiting.try_acquire() else { return LoginCheck::Busy };
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        // While this check waited, another may have verified the same password: an application that opens twenty connections costs one hash
        // or two.
        if let Some(user) = user.filter(|_| self.remembers(&key, now)) {
            return LoginCheck::Right(user.clone());
        }
        let password = password.to_owned();
        let fits = tokio::task::spawn_blocking(move || hash.fits(&password)).await.unwrap_or(false);
        match user.filter(|_| fits) {
            Some(user) => {
                self.remember(key, now);
                LoginCheck::Right(user.clone())
            }
            None => LoginCheck::Wrong,
        }
    }

    /// The SCRAM keys to begin an exchange with: the user's, or decoys that no proof fits.
    pub fn scram(&self, users: &Users, name: &str) -> (ScramKeys, Option<Arc<User>>) {
        match users.get(name).and_then(|user| user.scram.clone().map(|keys| (keys, user.clone()))) {
            Some((keys, user)) => (keys, Some(user)),
            None => (self.decoys.scram(users, name), None),
        }
    }

    /// A hash that costs as much as a real user's. A name always gets the same one, as a real user would.
    fn decoy(&self, users: &Users, name: &str) -> PasswordHash {
        self.decoys.password(users, name).unwrap_or_else(|| self.nobody.get_or_init(|| PasswordHash::of("nobody's"))).clone()
    }

    /// The key under which a right password is remembered. It includes the hash, so that a new password makes the old one unknown at once.
    fn key(&self, name: &str, hash: &PasswordHash, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret));
        for part in [name, hash.as_str(), password] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }

    fn remembers(&self, key: &[u8; 32], now: Instant) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(key).is_some_and(|until| *until > now)
    }

    fn remember(&self, key: [u8; 32], now: Instant) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, until| *until > now);
        }
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(key, now + REMEMBERED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            scram,
            testing::{user, users},
        },
        *,
    };
    use posthaste_host::clock;

    fn with_password(name: &str, password: &str) -> User {
        User { password: Some(PasswordHash::cheap(password)), ..user(name) }
    }

    fn right(check: &LoginCheck) -> Option<&str> {
        if let LoginCheck::Right(user) = check { Some(&user.name) } else { None }
    }

    #[tokio::test]
    async fn only_name_and_password_together_are_right() {
        let (passwords, all) =
            (Passwords::new(Decoys::new([7; 32])), users([with_password("app", "pencil"), with_password("web", "pen"), user("bare")]));
        let now = clock::instant();
        for (name, password, found) in [
            ("app", "pencil", Some("app")),
            ("web", "pen", Some("web")),
            ("app", "pen", None),
            ("nobody", "pencil", None),
            ("bare", "", None),
            ("", "", None),
        ] {
            assert_eq!(right(&passwords.check(&all, name, password, now).await), found, "{name} {password}");
        }
        assert_eq!(right(&passwords.check(&all, "app", &"x".repeat(PASSWORD_MAX + 1), now).await), None);
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_for_a_while_and_a_wrong_one_never() {
        let (passwords, all) = (Passwords::new(Decoys::new([7; 32])), users([with_password("app", "pencil")]));
        let now = clock::instant();
        assert!(right(&passwords.check(&all, "app", "wrong", now).await).is_none());
        assert!(passwords.remembered.lock().unwrap().is_empty());
        assert!(right(&passwords.check(&all, "app", "pencil", now).await).is_some());
        let hash = all.get("app").unwrap().password.clone().unwrap();
        let key = passwords.key("app", &hash, "pencil");
        assert!(passwords.remembers(&key, now + REMEMBERED - Duration::from_secs(1)));
        assert!(!passwords.remembers(&key, now + REMEMBERED));
        // All turns are taken, but a remembered password needs none.
        let _turns = passwords.turns.acquire_many(u32::try_from(passwords.turns.available_permits()).unwrap()).await.unwrap();
        assert!(right(&passwords.check(&all, "app", "pencil", now).await).is_some());
    }

    #[tokio::test]
    async fn of_many_that_say_the_same_at_once_the_later_ones_need_no_look() {
        let (passwords, all) = (Passwords::new(Decoys::new([7; 32])), users([with_password("app", "pencil")]));
        let (now, turns) = (clock::instant(), passwords.turns.available_permits());
        let held = passwords.turns.acquire_many(u32::try_from(turns).unwrap()).await.unwrap();
        let waits = passwords.check(&all, "app", "pen", now);
        tokio::pin!(waits);
        assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err(), "there is no turn");
        // The hash does not match this password: only memory makes it right.
        let hash = all.get("app").unwrap().password.clone().unwrap();
        passwords.remember(passwords.key("app", &hash, "pen"), now);
        drop(held);
        assert!(right(&waits.await).is_some());
    }

    #[tokio::test]
    async fn a_new_password_makes_the_old_one_wrong_at_once() {
        let passwords = Passwords::new(Decoys::new([7; 32]));
        let now = clock::instant();
        let before = users([with_password("app", "old")]);
        assert!(right(&passwords.check(&before, "app", "old", now).await).is_some());
        let after = users([with_password("app", "new")]);
        assert!(right(&passwords.check(&after, "app", "old", now).await).is_none());
    }

    #[tokio::test]
    async fn past_so_many_that_wait_clients_are_told_to_come_again() {
        let (passwords, all) = (Passwords::new(Decoys::new([7; 32])), users([with_password("app", "pencil")]));
        let slots = u32::try_from(passwords.waiting.available_permits()).unwrap();
        let _full = passwords.waiting.acquire_many(slots).await.unwrap();
        assert!(matches!(passwords.check(&all, "app", "pencil", clock::instant()).await, LoginCheck::Busy));
    }

    #[test]
    fn a_name_that_nobody_has_costs_what_somebodys_costs() {
        let passwords = Passwords::new(Decoys::new([7; 32]));
        let all = users([with_password("app", "pencil")]);
        assert_eq!(Some(passwords.decoy(&all, "nobody")), all.get("app").unwrap().password);
        let decoy = passwords.decoy(&users([]), "nobody");
        assert_eq!(Some(&decoy), passwords.nobody.get());
        assert_eq!(passwords.decoy(&users([]), "somebody"), decoy);
    }

    #[test]
    fn scram_begins_for_everybody() {
        let passwords = Passwords::new(Decoys::new([7; 32]));
        let keys = scram::of_password("pencil");
        let all = users([User { scram: Some(keys.clone()), ..user("app") }, user("bare")]);
        assert_eq!(passwords.scram(&all, "app").0, keys);
        for name in ["bare", "nobody"] {
            let (decoy, user) = passwords.scram(&all, name);
            assert!(user.is_none() && decoy == passwords.scram(&all, name).0);
        }
    }
}
