//! vmagent.

use super::{EXPORTER, STORE, assert_scraped, configuration};
use crate::http;
use crate::store::{Server, installed};

#[test]
#[ignore = "run by cargo xtask agents"]
fn vmagent_scrapes() {
    let Some(program) = installed("vmagent") else { return };
    for images in [0, 1000] {
        assert_scraped(
            "vmagent",
            images,
            |exporter, store| {
                let config = configuration(
                    "vmagent.yml",
                    &[(EXPORTER, &exporter.to_string()), ("15s", "1s")],
                );
                // The command is in the first line of the block.
                let url = configuration("vmagent.yml", &[]);
                let url = url.split_whitespace().find(|word| word.starts_with("-remoteWrite.url="));
                let url =
                    url.unwrap().replace(STORE, &format!("http://127.0.0.1:{}", store.port()));
                let (server, _) = Server::start(
                    &program,
                    |data, [http]| {
                        let path = data.join("vmagent.yml");
                        std::fs::write(&path, &config).unwrap();
                        vec![
                            format!("-promscrape.config={}", path.display()),
                            format!("-remoteWrite.tmpDataPath={}", data.join("queue").display()),
                            format!("-httpListenAddr=127.0.0.1:{http}"),
                            url.clone(),
                        ]
                    },
                    |[http]| http::get(http, "/health").is_ok_and(|answer| answer.body == "OK"),
                );
                server
            },
            &["job", "instance"],
        );
    }
}
