//! Zabbix agent 2.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::{EXPORTER, configuration};
use crate::common::until;
use crate::population::Population;
use crate::scrapers::{add_images, constant, free_address};
use crate::store::{Server, assert_found, exposed, installed};

#[test]
#[ignore = "run by cargo xtask agents"]
fn zabbix_agent_reads_the_exporter() {
    let Some(program) = installed("zabbix_agent2") else { return };
    let population = Population::new();
    let exporter = free_address();
    let items = configuration("zabbix_agent2.d/psstat.conf", &[(EXPORTER, &exporter.to_string())]);
    // It refuses ports above 32767.
    let mut ports = 20_000..32_768;
    let port = ports.find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()).unwrap();
    let (_agent, []) = Server::start(
        &program,
        |data, []| {
            let config = format!(
                "LogType=console\nListenIP=127.0.0.1\nListenPort={port}\nServer=127.0.0.1\nHostname=pxy12\n\
                 PidFile={data}/pid\nControlSocket={data}/control\nPluginSocket={data}/plugins\n{items}",
                data = data.display()
            );
            let path = data.join("zabbix_agent2.conf");
            std::fs::write(&path, config).unwrap();
            vec!["-c".to_owned(), path.display().to_string()]
        },
        |[]| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
    );
    {
        let (_collector, exposition) = constant(&population.conf, exporter);
        let sent = exposed(&exposition);
        let found = exposed(&value(port, "psstat.metrics"));
        assert_found("Zabbix agent 2", "--listen, 3 images", &sent, &found);
        let of_one = exposed(&value(port, "psstat.image[svc/web]"));
        let expected = sent.clone().into_iter().filter(|(name, _)| name.contains(" image=svc/web"));
        assert_eq!(of_one, expected.collect());
        // An image that is not in the exposition.
        assert_eq!(first_answer(port, "psstat.image[svc/ended]"), "");
    }
    // Without the collector.
    assert_eq!(first_answer(port, "psstat.metrics"), "");
    add_images(&population, 1000);
    let (_collector, exposition) = constant(&population.conf, exporter);
    let sent = exposed(&exposition);
    println!("{} bytes with 1,003 images", exposition.len());
    let refused = answer(port, "psstat.metrics");
    assert_eq!(refused, "ZBX_NOTSUPPORTED\0Command output exceeded limit of 512 KB");
    let of_one = exposed(&value(port, "psstat.image[many/999]"));
    let expected = sent.clone().into_iter().filter(|(name, _)| name.contains(" image=many/999"));
    assert_eq!(of_one, expected.collect());
}

/// The value of an item.
fn value(port: u16, key: &str) -> String {
    let answer = answer(port, key);
    assert!(!answer.starts_with("ZBX_"), "{answer}");
    answer
}

/// The answer to a server that requests an item until it has a value.
fn answer(port: u16, key: &str) -> String {
    let mut value = String::new();
    until(key, || {
        value = first_answer(port, key);
        !value.is_empty()
    });
    value
}

/// The answer to one request.
fn first_answer(port: u16, key: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut request = b"ZBXD\x01".to_vec();
    request.extend((key.len() as u64).to_le_bytes());
    request.extend(key.as_bytes());
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // Its header has 13 bytes.
    String::from_utf8_lossy(answer.get(13..).unwrap_or_default()).into_owned()
}
