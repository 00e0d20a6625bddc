//! node_exporter, whose textfile collector serves the files of a directory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{Server, installed};
use crate::http;

#[derive(Debug)]
pub(crate) struct NodeExporter {
    server: Server,
    http: u16,
}

impl NodeExporter {
    /// `None` if it is not installed.
    pub(crate) fn start() -> Option<NodeExporter> {
        let program = installed("prometheus-node-exporter")?;
        let (server, [http]) = Server::start(
            &program,
            |data, [http]| {
                std::fs::create_dir_all(data.join("files")).unwrap();
                vec![
                    "--collector.disable-defaults".to_owned(),
                    "--collector.textfile".to_owned(),
                    format!("--collector.textfile.directory={}", data.join("files").display()),
                    format!("--web.listen-address=127.0.0.1:{http}"),
                ]
            },
            |[http]| http::get(http, "/metrics").is_ok_and(|answer| answer.status == 200),
        );
        Some(NodeExporter { server, http })
    }

    /// The directory of its files.
    pub(crate) fn directory(&self) -> PathBuf {
        let data: &Path = self.server.data.path();
        data.join("files")
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.http).into()
    }

    /// Its exposition.
    pub(crate) fn metrics(&self) -> String {
        http::get_ok(self.http, "/metrics")
    }
}
