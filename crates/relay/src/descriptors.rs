//! How connections share the files that the process may have open. The spool, the log and the index never go without: what they need is set
//! aside first, and the limits of connections follow what is left.

use posthaste_config::Config;

/// What the spool, the log, the index, the listeners, the admin socket and the runtime hold open at most, with some to spare.
const OWN: u64 = 96;
/// Files for one DNS look-up: it may ask two servers at once.
const PER_LOOKUP: u64 = 2;

/// Lowers the limits of connections and look-ups to what `files` open files allow. Returns what it changed, as a text for people.
pub(crate) fn fit(config: &mut Config, files: u64) -> Option<String> {
    let own = OWN.min(files / 2);
    let left = files - own;
    let (clients, http) = (config.limits.connections, config.http.max_connections);
    let (deliveries, lookups) = (config.delivery.connections, config.dns.lookups);
    let wanted = (clients + http + deliveries) as u64 + PER_LOOKUP * lookups as u64;
    if wanted <= left {
        return None;
    }
    let share = |of: usize| usize::try_from(of as u64 * left / wanted).unwrap_or(of).max(1);
    (config.limits.connections, config.http.max_connections) = (share(clients), share(http));
    (config.delivery.connections, config.dns.lookups) = (share(deliveries), share(lookups));
    config.delivery.connections_per_lane = config.delivery.connections_per_lane.min(config.delivery.connections);
    Some(format!(
        "this process may have {files} files open, too few for limits.connections = {clients}, http.max_connections = {http}, \
         delivery.connections = {deliveries} and dns.lookups = {lookups}: they are {}, {}, {} and {} instead; raise LimitNOFILE or ulimit -n \
         to {} to get all of them",
        config.limits.connections,
        config.http.max_connections,
        config.delivery.connections,
        config.dns.lookups,
        wanted + OWN
    ))
}

#[cfg(test)]
mod tests {
    use posthaste_host::AnyAddress;

    use super::*;

    fn files_of(config: &Config) -> u64 {
        (config.limits.connections + config.http.max_connections + config.delivery.connections) as u64
            + PER_LOOKUP * config.dns.lookups as u64
    }

    #[test]
    fn connections_leave_the_spool_and_the_log_what_they_need() {
        let config = || Config::parse("", "posthaste.toml", &AnyAddress).unwrap_or_else(|errors| panic!("{errors}"));
        let all = files_of(&config()) + OWN;
        assert_eq!(fit(&mut config(), all), None);
        for files in [64, 128, 256, 1024, all - 1] {
            let mut fitted = config();
            let told = fit(&mut fitted, files).unwrap();
            let own = OWN.min(files / 2);
            assert!(files_of(&fitted) + own <= files + 4, "{files}: {}", files_of(&fitted));
            assert!(fitted.delivery.connections_per_lane <= fitted.delivery.connections);
            assert!(told.contains(&format!("may have {files} files open")) && told.contains(&format!("to {all} to")), "{told}");
        }
    }
}
