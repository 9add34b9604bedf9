//! How connections share the files that the process may have open. The spool, the log and the index never go without: what they need is set
//! aside first, and the limits of connections follow what is left.

use posthaste_config::Config;
use posthaste_queue::leaving_max;
use posthaste_route::Turns;

/// What the spool, the log, the index, the listeners, the admin socket and the runtime hold open at most (about thirty), the connections of
/// clients that are told that there are too many, and some to spare.
const OWN: u64 = 96;
/// With fewer files than this the relay does not start: a client, a delivery and a look-up at once are too few to be of use.
const LEAST: u64 = OWN + 32;
/// Files for one question to DNS at most: hickory asks three times, each over a socket of its own.
const PER_QUESTION: u64 = 3;
/// Files for one turn to ask.
const PER_LOOKUP: u64 = PER_QUESTION * Turns::QUESTIONS as u64;
/// One in so many files is for look-ups, where they are short.
const LOOKUPS_PART: u64 = 4;

/// This process may have so few files open that not even the spool, the log and some connections have enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may have {0} files open, too few for the spool, the log and any connections: raise LimitNOFILE or ulimit -n to {LEAST} at \
     least, or better to some thousands"
)]
pub struct TooFewFiles(u64);

/// Lowers the limits of connections and look-ups to what `files` open files allow. Returns what it changed, as a text for people.
///
/// # Errors
/// That is too few to run.
pub(crate) fn fit(config: &mut Config, files: u64) -> Result<Option<String>, TooFewFiles> {
    if files < LEAST {
        return Err(TooFewFiles(files));
    }
    let left = files - OWN;
    let (clients, http, live) = (config.limits.connections, config.http.max_connections, config.http.max_live);
    let (deliveries, lookups) = (config.delivery.connections, config.dns.lookups);
    let wanted = files_of(config);
    if wanted <= left {
        return Ok(None);
    }
    let for_lookups = (left / LOOKUPS_PART).max(PER_LOOKUP).min(PER_LOOKUP * lookups as u64);
    config.dns.lookups = usize::try_from(for_lookups / PER_LOOKUP).unwrap_or(lookups);
    let (left, wanted_by_others) = (left - for_lookups, wanted - PER_LOOKUP * lookups as u64);
    if wanted_by_others > left {
        let share = |of: usize| usize::try_from(of as u64 * left / wanted_by_others).unwrap_or(of).max(1);
        (config.limits.connections, config.http.max_connections) = (share(clients), share(http));
        config.http.max_live = share(live).min(live);
        config.delivery.connections = share(deliveries);
    }
    config.delivery.connections_per_lane = config.delivery.connections_per_lane.min(config.delivery.connections);
    Ok(Some(format!(
        "this process may have {files} files open, too few for limits.connections = {clients}, http.max_connections = {http}, \
         http.max_live = {live}, delivery.connections = {deliveries} and dns.lookups = {lookups}: they are {}, {}, {}, {} and {} instead; raise LimitNOFILE or ulimit -n \
         to {} to get all of them",
        config.limits.connections,
        config.http.max_connections,
        config.http.max_live,
        config.delivery.connections,
        config.dns.lookups,
        wanted + OWN
    )))
}

/// How many files connections and look-ups may need. Connections to the API are twice as many, because refusals that wait count apart; so do
/// answers that go on.
fn files_of(config: &Config) -> u64 {
    let deliveries = config.delivery.connections;
    let connections =
        config.limits.connections + 2 * config.http.max_connections + config.http.max_live + deliveries + leaving_max(deliveries);
    connections as u64 + PER_LOOKUP * config.dns.lookups as u64
}

#[cfg(test)]
mod tests {
    use posthaste_host::AnyAddress;

    use super::*;

    #[test]
    fn connections_leave_the_spool_and_the_log_what_they_need() {
        let config = || Config::parse("", "posthaste.toml", &AnyAddress).unwrap_or_else(|errors| panic!("{errors}"));
        let all = files_of(&config()) + OWN;
        assert_eq!(fit(&mut config(), all), Ok(None));
        for files in [LEAST, 192, 256, 512, 1024, 2048, all - 1] {
            let mut fitted = config();
            let told = fit(&mut fitted, files).unwrap().unwrap();
            // Shares are rounded down, but to one at least.
            assert!(files_of(&fitted) + OWN <= files + 5, "{files}: {}", files_of(&fitted));
            assert!(fitted.delivery.connections_per_lane <= fitted.delivery.connections);
            assert!(told.contains(&format!("may have {files} files open")) && told.contains(&format!("to {all} to")), "{told}");
        }
        for files in [24, 64, LEAST - 1] {
            let error = fit(&mut config(), files).unwrap_err().to_string();
            assert!(error.contains(&format!("may have {files} files open")) && error.contains(&LEAST.to_string()), "{error}");
        }
    }
}
