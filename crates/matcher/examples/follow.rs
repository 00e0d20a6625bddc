//! Prints the images of a config file each time that it changes: `follow CONF`.
use psstat_matcher::watcher::{ConfigWatcher, Event};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut watcher = ConfigWatcher::new(std::env::args().nth(1).ok_or("usage: follow CONF")?);
    loop {
        match watcher.poll(Instant::now()) {
            Some(Event::Loaded(loaded)) => {
                let images = loaded.conf.rules.images().iter().map(AsRef::<str>::as_ref);
                println!("{}", images.collect::<Vec<_>>().join(" "));
            }
            Some(Event::Unusable(_)) => println!("it has no rules; the rules of before stay"),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
