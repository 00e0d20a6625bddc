//! Checks a config file: `check CONF` prints its diagnostics, and fails if one is an error.
use psstat_matcher::Conf;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: check CONF")?;
    let conf = Conf::parse(&std::fs::read(&path)?);
    for diagnostic in &conf.diagnostics {
        println!("{}", diagnostic.display(&path));
    }
    Ok(u8::from(conf.has_errors()).into())
}
