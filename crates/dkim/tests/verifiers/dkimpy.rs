//! dkimpy (Debian: python3-dkim), which is an implementation of its own.

use std::process::Command;

use super::{Record, Sample, absent, write_down};

const SCRIPT: &str = r#"
import sys, pathlib, dkim
folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
records = dict(line.split(b" ", 1) for line in (folder / "records").read_bytes().splitlines())
dns = lambda name, timeout=5: records.get(name.rstrip(b"."))
for number in range(count):
    message = dkim.DKIM((folder / f"{number}.eml").read_bytes())
    signatures = sum(1 for name, _ in message.headers if name.lower() == b"dkim-signature")
    try:
        holds = signatures > 0 and all(message.verify(idx=i, dnsfunc=dns) for i in range(signatures))
    except dkim.DKIMException as error:
        print(number, error, file=sys.stderr)
        holds = False
    print("yes" if holds else "no")
"#;

const CHAINS: &str = r#"
import sys, pathlib, dkim
folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
records = dict(line.split(b" ", 1) for line in (folder / "records").read_bytes().splitlines())
dns = lambda name, timeout=5: records.get(name.rstrip(b"."))
for number in range(count):
    state, _, reason = dkim.arc_verify((folder / f"{number}.eml").read_bytes(), dnsfunc=dns)
    print(number, state, reason, file=sys.stderr)
    print("yes" if state == dkim.CV_Pass else "no")
"#;

/// Whether all signatures hold. None where dkimpy is not installed.
pub(crate) fn verify(samples: &[Sample], records: &[Record]) -> Option<Vec<bool>> {
    ask(SCRIPT, samples, records)
}

/// Whether the ARC chain holds. None where dkimpy is not installed.
pub(crate) fn verify_chains(samples: &[Sample], records: &[Record]) -> Option<Vec<bool>> {
    ask(CHAINS, samples, records)
}

fn ask(script: &str, samples: &[Sample], records: &[Record]) -> Option<Vec<bool>> {
    // Debian's packages belong to Debian's Python, which need not be the first in the path.
    let has_dkim = |python: &&str| Command::new(python).args(["-c", "import dkim, nacl"]).output().is_ok_and(|o| o.status.success());
    let Some(python) = ["/usr/bin/python3", "python3"].into_iter().find(has_dkim) else {
        absent("dkimpy", "python3-dkim");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    write_down(folder.path(), samples, records);
    let output = Command::new(python).args(["-c", script]).arg(folder.path()).arg(samples.len().to_string()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "yes").collect())
}
