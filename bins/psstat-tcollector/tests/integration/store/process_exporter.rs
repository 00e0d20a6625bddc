//! process-exporter, which reads the same processes.

use super::{Server, installed};
use crate::http;

#[derive(Debug)]
pub(crate) struct ProcessExporter {
    _server: Server,
    http: u16,
}

impl ProcessExporter {
    /// One that counts the processes whose command lines contain a word as a group of that name.
    /// `None` if it is not installed.
    pub(crate) fn start(word: &str) -> Option<ProcessExporter> {
        let program = installed("prometheus-process-exporter")?;
        let (server, [http]) = Server::start(
            &program,
            |data, [http]| {
                let config = data.join("config.yml");
                let rule = format!("process_names:\n  - name: '{word}'\n    cmdline: ['{word}']\n");
                std::fs::write(&config, rule).unwrap();
                vec![
                    format!("--config.path={}", config.display()),
                    format!("--web.listen-address=127.0.0.1:{http}"),
                    "--threads=false".to_owned(),
                ]
            },
            |[http]| http::get(http, "/metrics").is_ok_and(|answer| answer.status == 200),
        );
        Some(ProcessExporter { _server: server, http })
    }

    /// Its values now.
    pub(crate) fn read(&self) -> GroupValues {
        GroupValues(http::get_ok(self.http, "/metrics"))
    }
}

/// Values of its only group.
#[derive(Debug)]
pub(crate) struct GroupValues(String);

impl GroupValues {
    /// The sum of a metric, for the series with this text in their labels.
    pub(crate) fn sum(&self, metric: &str, label: &str) -> f64 {
        let name = format!("namedprocess_namegroup_{metric}{{");
        let lines = self.0.lines().filter(|line| line.starts_with(&name) && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}
