//! The collector's life: start, cycle after cycle, end.

use std::time::{Duration, Instant};

use psstat_emit::{ImageName, Timestamp};
use psstat_sampler::{FastPaths, ImageId, Options, Sampler};
use psstat_support::{failpoint, procfs};
use rustix::io::Errno;

use crate::conf::{Conf, OwnerPolicy, check};
use crate::cycle::{SampleLoop, Schedule, log_fast_paths};
use crate::health::{SelfMeter, SelfMetrics};
use crate::log;
use crate::options::Settings;
use crate::output::{Output, Written};
use crate::panic;
use crate::points::{self, Memory};
use crate::privileges::{self, Capabilities};
use crate::signals::Signals;
use crate::timestamps::TimestampSource;
use crate::{EXIT_OK, EXIT_USAGE};

/// How long the first cycle waits for a conf that is being written.
const INITIAL_CONF_WAIT: Duration = Duration::from_secs(1);

/// Does what the settings say, and gives the exit status.
pub fn run(settings: Settings) -> u8 {
    // First of all, so that --check finds what the collector will find, and
    // whoever is asked for a user's number has no more rights either.
    privileges::drop_privileges();
    let owner = OwnerPolicy { user: settings.conf_owner.clone(), strict: settings.strict_owner };
    if settings.check {
        return privileges::with_user_privileges(|| check(&settings.conf, &owner, &settings.proc));
    }
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            log::line(&format!("signals cannot be heeded: {error}"));
            return EXIT_OK;
        }
    };
    failpoint::hit("panic:start");
    privileges::raise_descriptor_limit();
    let held = Capabilities::now();
    if settings.debug {
        log::line(&format!("debug: {}", held.describe()));
    }
    let options = Options {
        proc_root: settings.proc.clone(),
        max_open_fds: settings.descriptors,
        fast_paths: FastPaths::ALL,
        ..Options::default()
    };
    let sampler = match Sampler::new(options.clone()) {
        Ok(sampler) => sampler,
        Err(error) => {
            let named_wrong = settings.proc_is_explicit && is_bad_path(&error);
            log::line(&format!("{error}{}", if named_wrong { "; give --proc DIR" } else { "" }));
            // A shortage passes, and /proc may come to be mounted.
            return if named_wrong { EXIT_USAGE } else { EXIT_OK };
        }
    };
    if !procfs::looks_like_procfs(&settings.proc).unwrap_or(false) {
        log::line(&format!(
            "{proc} is no procfs, nor a copy of one: there is no process in it; if it should be \
             one, `mount -t proc proc {proc}`",
            proc = settings.proc.display()
        ));
        return if settings.proc_is_explicit { EXIT_USAGE } else { EXIT_OK };
    }
    if settings.debug {
        log_fast_paths(&sampler);
    }
    let conf = match Conf::new(settings.conf.clone(), owner) {
        Ok(conf) => conf,
        Err(error) => {
            log::line(&format!("the conf cannot be followed: {error}"));
            return EXIT_OK;
        }
    };
    Collector {
        signals,
        conf,
        options,
        sampling: SampleLoop::new(sampler),
        timeline: TimestampSource::default(),
        output: Output::default(),
        meter: SelfMeter::new(),
        buffer: Vec::new(),
        images: Vec::new(),
        health: SelfMetrics { fds_held: held, ..SelfMetrics::default() },
        panicked_last_cycle: false,
        panics_before: 0,
        last_write_failed: false,
        settings,
    }
    .run()
}

/// Whether it is the path of the procfs that is wrong, and not the moment.
fn is_bad_path(error: &psstat_sampler::Error) -> bool {
    let psstat_sampler::Error::Procfs { source, .. } = error else { return false };
    let errno = Errno::from_io_error(source);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP))
}

struct Collector {
    settings: Settings,
    options: Options,
    signals: Signals,
    conf: Conf,
    sampling: SampleLoop,
    timeline: TimestampSource,
    output: Output,
    meter: SelfMeter,
    buffer: Vec<u8>,
    /// The images that the cycle is about: those in force when it began. Of one
    /// that came since, nothing is known yet, and a 0 would be made up.
    images: Vec<(ImageName, ImageId)>,
    health: SelfMetrics,
    /// The last cycle was lost to a defect.
    panicked_last_cycle: bool,
    /// Defects at the end of the last cycle that went well.
    panics_before: u64,
    /// The last output could not be written.
    last_write_failed: bool,
}

impl Collector {
    fn run(mut self) -> u8 {
        let at_latest = Instant::now() + INITIAL_CONF_WAIT;
        let mut rules_changed = self.wait(at_latest, Signals::wait_for_conf);
        let mut schedule = Schedule::new(Duration::from_secs(self.settings.interval));
        let mut cycle = 0;
        loop {
            cycle += 1;
            self.meter.begin();
            match panic::catch(|| self.cycle(cycle, rules_changed)) {
                Some(changed) => {
                    rules_changed = changed;
                    self.panicked_last_cycle = false;
                    // Nor was there one in reading the conf since the last cycle.
                    if self.panics_before == self.health.panics {
                        panic::clear_last();
                    }
                    self.panics_before = self.health.panics;
                }
                None => {
                    self.health.panics += 1;
                    rules_changed = true;
                    self.recover();
                    self.emit_health_only();
                }
            }
            if !self.buffer.is_empty() {
                match self.output.write(&self.buffer) {
                    Written::Complete => self.last_write_failed = false,
                    Written::Closed => return EXIT_OK,
                    Written::Failed(errno) => {
                        if !std::mem::replace(&mut self.last_write_failed, true) {
                            log::line(&format!(
                                "stdout cannot be written: {errno}; cycles are lost until it can"
                            ));
                        }
                    }
                }
            }
            if self.settings.cycles.is_some_and(|cycles| cycle >= cycles) {
                return EXIT_OK;
            }
            log::flush_dropped();
            let (next, missed) = schedule.next(Instant::now());
            self.health.late += missed;
            rules_changed |= self.wait(next, Signals::wait);
        }
    }

    /// Waits with an eye on the conf, whose reading may have a defect too: then
    /// without. Tells whether the rules changed, or may have.
    fn wait(&mut self, until: Instant, wait: fn(&Signals, Instant, &mut Conf) -> bool) -> bool {
        let changed = panic::catch(|| wait(&self.signals, until, &mut self.conf));
        changed.unwrap_or_else(|| {
            self.health.panics += 1;
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            true
        })
    }

    /// A sample and its points in the buffer; tells whether the rules changed.
    fn cycle(&mut self, cycle: u64, rules_changed: bool) -> bool {
        self.buffer.clear();
        if rules_changed {
            self.sampling.rules_changed(&self.conf.rules);
            self.images.clear();
            self.images.extend_from_slice(self.conf.rules.images());
        }
        let changed = self.sampling.sample(&mut self.conf, &self.signals, cycle);
        let time = self.time();
        self.update_self_metrics();
        let memory =
            Memory { unit: self.settings.mem_unit, page_size: rustix::param::page_size() as u64 };
        match self.settings.encoder.begin(&mut self.buffer, time) {
            Ok(mut points) => {
                let sample = self.sampling.sampler.sample();
                points::write(&mut points, sample, &self.images, &self.health, memory);
                points.finish();
            }
            // The time line never stands still but in 2106.
            Err(error) => log::line(&error.to_string()),
        }
        if self.settings.debug {
            let SelfMetrics { cpu_milliseconds: cpu, wall_milliseconds: wall, .. } = self.health;
            let health = &self.sampling.sampler.sample().health;
            log::line(&format!(
                "debug: cycle {cycle}: {cpu:.3} ms of CPU, {wall:.0} ms, {} processes seen, {} matched, {} descriptors kept",
                health.processes, health.matched, health.fds_held
            ));
        }
        changed
    }

    /// The time of a cycle's points.
    fn time(&mut self) -> Timestamp {
        let stamp = self.timeline.now();
        if let Some(seconds) = stamp.clock_set_back {
            log::line(&format!(
                "the clock was set back by {seconds} s; points go on from the time before, \
                 and follow the clock again when it has caught up or after a restart"
            ));
        }
        stamp.time
    }

    /// Brings its own health up to date.
    fn update_self_metrics(&mut self) {
        let rules = &self.conf.rules;
        self.health.bad_lines = self.conf.bad_lines as u64;
        self.health.panics += std::mem::take(&mut self.conf.panics);
        self.health.conf_loaded = self.conf.loaded;
        self.health.rules = rules.count() as u64;
        self.health.limited_rules = rules.limited_rules() as u64;
        self.meter.read(&mut self.health);
    }

    /// After a defect: the cycle is lost. What the sampler knows is kept the
    /// first time, for the counters' sake; should the next cycle fail too, or
    /// even this, it begins anew.
    fn recover(&mut self) {
        self.buffer.clear();
        let first = !std::mem::replace(&mut self.panicked_last_cycle, true);
        let kept = first
            && panic::catch(|| {
                failpoint::hit("panic:recover");
                self.sampling.sampler.recover_after_panic();
            })
            .is_some();
        if !kept {
            panic::catch(|| match Sampler::new(self.options.clone()) {
                Ok(sampler) => self.sampling = SampleLoop::new(sampler),
                Err(error) => log::line(&error.to_string()),
            });
        }
    }

    /// In the place of a lost cycle: what it knows of itself, the number of
    /// defects above all. tcollector kills a collector that is silent, and no
    /// alert would show the reason.
    fn emit_health_only(&mut self) {
        let told = panic::catch(|| {
            let time = self.time();
            self.update_self_metrics();
            if let Ok(mut points) = self.settings.encoder.begin(&mut self.buffer, time) {
                points::write_self(&mut points, &self.health);
                points.finish();
            }
        });
        if told.is_none() {
            self.buffer.clear();
        }
    }
}
