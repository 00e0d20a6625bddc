//! The recording and alert rules of the package.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use psstat_emit::metrics::{CollectorSeries, Series};

use crate::store::installed;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/prometheus")
}

/// Each alert with series that raise it and series that do not.
#[test]
fn alerts_are_raised_by_their_conditions() {
    let Some(promtool) = installed("promtool") else { return };
    let tests = directory().join("psstat.rules.test.yml");
    let output = Command::new(promtool).args(["test", "rules"]).arg(&tests).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let tests = std::fs::read_to_string(&tests).unwrap();
    let rules = std::fs::read_to_string(directory().join("psstat.rules.yml")).unwrap();
    let page = include_str!("../../../../docs/install.md");
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
        assert!(page.contains(&format!("`{alert}`")), "{alert} is not in docs/install.md");
    }
}

/// The rules name metrics that an exposition has.
#[test]
fn metrics_of_the_rules_exist() {
    let families = Series::ALL.iter().map(|series| series.metric());
    let families = families.chain(CollectorSeries::ALL.iter().map(|series| series.metric()));
    let mut names = BTreeSet::new();
    for metric in families {
        names.insert(metric.family_name().into_owned());
        names.insert(format!("{}_total", metric.family_name()));
    }
    let rules = std::fs::read_to_string(directory().join("psstat.rules.yml")).unwrap();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let used: BTreeSet<&str> = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c| !is_name(c)))
        .filter(|word| word.starts_with("proc_stat_ps_"))
        .collect();
    assert!(used.len() >= 8, "{used:?}");
    let unknown: Vec<_> = used.iter().filter(|name| !names.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
