//! The main loop: start, cycles, exit.

use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use psstat_emit::{TagValue, Timestamp};
use psstat_matcher::ownership::OwnerPolicy;
use psstat_sampler::{Bpf, ImageId, IoStart, ProcessFields, Sampler};
use psstat_support::sleep::sleep_until;
use psstat_support::{failpoint, procfs};
use rustix::io::Errno;

use crate::bpf::Loading;
use crate::check::check;
use crate::conf::Conf;
use crate::cycle::{SampleLoop, Schedule, log_fast_paths, log_missing_files};
use crate::health::{SelfMeter, SelfMetrics};
use crate::http_server::HttpServer;
use crate::log;
use crate::options::Settings;
use crate::output::{Output, OutputFile, Written};
use crate::panic;
use crate::points::{self, Memory, Shown};
use crate::privileges::{self, Capabilities};
use crate::signals::Signals;
use crate::timestamps::TimestampSource;
use crate::{EXIT_BAD_CONF, EXIT_CANNOT_LISTEN, EXIT_CANNOT_START, EXIT_OK, EXIT_USAGE};

/// The time for which the first cycle waits for a config file that is being written.
const INITIAL_CONF_WAIT: Duration = Duration::from_secs(1);

/// Runs the collector and returns its exit status.
pub fn run(settings: Settings) -> u8 {
    if settings.quiet {
        log::set_quiet();
    }
    // It needs privileges that nothing else needs.
    let loading = Loading::start(&settings);
    // Before anything else: --check then has the collector's permissions, and so has the process
    // that looks up a user's uid.
    privileges::drop_privileges();
    let owner = OwnerPolicy::new(settings.conf_owner.clone(), settings.strict_owner);
    if settings.check {
        return privileges::with_user_privileges(|| check(&settings, &owner));
    }
    let cannot_start = if settings.once { EXIT_CANNOT_START } else { EXIT_OK };
    let output = settings.output.as_deref().map(|path| Arc::new(OutputFile::new(path)));
    let signals = match Signals::install(output.as_ref()) {
        Ok(signals) => signals,
        Err(error) => {
            log::line(&format!("cannot install signal handlers: {error}"));
            return cannot_start;
        }
    };
    failpoint::hit("panic:start");
    privileges::raise_fd_limit();
    let mut loaded = loading.map(Loading::finish);
    if let Some(loaded) = &mut loaded {
        loaded.drop_capabilities(&settings);
    }
    let bpf = loaded.as_ref().and_then(|loaded| loaded.bpf.clone());
    let capabilities = Capabilities::towards(&settings.proc);
    if settings.debug {
        log::line(&format!("debug: {}", capabilities.describe()));
    }
    let mut sampler = match new_sampler(&settings, bpf.clone()) {
        Ok(sampler) => sampler,
        Err(error) => {
            let is_usage_error = settings.proc_is_explicit && is_bad_path(&error);
            let error = with_source(&error);
            log::line(&format!("{error}{}", if is_usage_error { "; check --proc" } else { "" }));
            // A later start may succeed: a shortage may end, and /proc may be mounted.
            return if is_usage_error { EXIT_USAGE } else { cannot_start };
        }
    };
    if !procfs::is_procfs_or_capture(&settings.proc).unwrap_or(false) {
        log::line(&format!(
            "{proc} is not a procfs or a capture of one (no process directories); to mount it: \
             `mount -t proc proc {proc}`",
            proc = settings.proc.display()
        ));
        return if settings.proc_is_explicit { EXIT_USAGE } else { cannot_start };
    }
    log_missing_files(&sampler);
    if settings.debug {
        log_fast_paths(&mut sampler);
    }
    let conf = match Conf::new(
        &settings.conf,
        settings.conf_is_explicit,
        owner,
        settings.max_images_per_rule,
        &settings.proc,
    ) {
        Ok(conf) => conf,
        Err(error) => {
            log::line(&format!("cannot watch the config files: {error}"));
            return cannot_start;
        }
    };
    let server = match settings.listen.as_ref().map(|(address, _)| HttpServer::start(*address)) {
        None => None,
        Some(Ok(server)) => Some(server),
        Some(Err(error)) => {
            log::line(&format!("cannot listen: {error}; check --listen"));
            return EXIT_CANNOT_LISTEN;
        }
    };
    if let Some(loaded) = loaded {
        loaded.log();
    }
    Collector {
        server,
        signals,
        conf,
        bpf,
        sample_loop: SampleLoop::new(sampler, capabilities),
        timestamps: TimestampSource::default(),
        output: Output::new(output),
        meter: SelfMeter::new(),
        buffer: Vec::new(),
        prometheus: Vec::new(),
        images: Vec::new(),
        self_metrics: SelfMetrics { capabilities, ..SelfMetrics::default() },
        panicked_last_cycle: false,
        panics_before: 0,
        last_write_failed: false,
        schedule: Schedule::new(Duration::from_secs(settings.interval), Instant::now()),
        settings,
    }
    .run()
}

/// The sampler of these settings. The rules determine the fields, and texts are not reported.
fn new_sampler(settings: &Settings, bpf: Option<Bpf>) -> Result<Sampler, psstat_sampler::Error> {
    let mut builder = Sampler::builder()
        .proc_root(&settings.proc)
        .metrics(points::metric_groups(&settings.metrics))
        .fields(ProcessFields::NONE)
        .keep_texts(false);
    if let Some(number) = settings.descriptors {
        builder = builder.max_open_fds(number);
    }
    // One cycle has nothing to compare with.
    if settings.once || failpoint::io_starts_with_processes() {
        builder = builder.io_start(IoStart::ProcessStart);
    }
    if let Some(bpf) = bpf {
        builder = builder.bpf(bpf);
    }
    builder.build()
}

/// The text of an error and of its cause.
fn with_source(error: &psstat_sampler::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether the path of the procfs is wrong, so that a retry cannot succeed.
fn is_bad_path(error: &psstat_sampler::Error) -> bool {
    let psstat_sampler::Error::Procfs { source, .. } = error else { return false };
    let errno = Errno::from_io_error(source);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP))
}

struct Collector {
    settings: Settings,
    bpf: Option<Bpf>,
    signals: Signals,
    conf: Conf,
    sample_loop: SampleLoop,
    timestamps: TimestampSource,
    output: Output,
    meter: SelfMeter,
    buffer: Vec<u8>,
    /// The server of --listen.
    server: Option<HttpServer>,
    /// The cycle in the Prometheus text format, for the server.
    prometheus: Vec<u8>,
    /// The images of the sample, by name. Images of rules that became active since it began have no
    /// values yet.
    images: Vec<(TagValue, ImageId)>,
    self_metrics: SelfMetrics,
    /// The previous cycle was lost to a panic.
    panicked_last_cycle: bool,
    /// The number of panics at the end of the last successful cycle.
    panics_before: u64,
    schedule: Schedule,
    /// The output of the previous cycle could not be written.
    last_write_failed: bool,
}

impl Collector {
    fn run(mut self) -> u8 {
        let deadline = Instant::now() + INITIAL_CONF_WAIT;
        let mut rules_changed = self.wait(
            |collector| collector.signals.wait_for_conf(deadline, &mut collector.conf),
            deadline,
        );
        self.schedule = Schedule::new(self.schedule.interval(), Instant::now());
        let mut cycle = 0;
        loop {
            cycle += 1;
            self.meter.begin();
            let window = self.schedule.begin(Instant::now());
            match panic::catch(|| self.cycle(cycle, rules_changed, window)) {
                Some(changed) => {
                    rules_changed = changed;
                    self.panicked_last_cycle = false;
                    // Nor has a load of the config file panicked since the last cycle.
                    if self.panics_before == self.self_metrics.panics {
                        panic::clear_last();
                    }
                    self.panics_before = self.self_metrics.panics;
                }
                None => {
                    self.self_metrics.panics += 1;
                    rules_changed = true;
                    self.recover();
                    self.emit_self_metrics();
                }
            }
            if self.signals.is_terminal_lost() {
                return EXIT_OK;
            }
            if self.buffer.is_empty() {
                // Not even the collector's own metrics could be encoded.
            } else if let Some(server) = &self.server {
                server.publish(&self.buffer, &self.prometheus);
            } else {
                match self.output.write(&self.buffer) {
                    Written::Complete => self.last_write_failed = false,
                    Written::Closed => return EXIT_OK,
                    Written::Failed(errno) => {
                        if !std::mem::replace(&mut self.last_write_failed, true) {
                            log::line(&format!(
                                "cannot write to {}: {errno}; dropping cycles until it recovers",
                                self.output.name()
                            ));
                        }
                    }
                }
            }
            if self.settings.cycles.is_some_and(|cycles| cycle >= cycles) {
                // tcollector does not use --once: with another status it would not restart the
                // collector for an hour.
                let has_rules = self.conf.rules.count() > 0;
                return if self.settings.once && !has_rules { EXIT_BAD_CONF } else { EXIT_OK };
            }
            log::flush_dropped();
            let next = self.schedule.next(Instant::now());
            self.self_metrics.skipped_cycles += next.skipped;
            let has_rules = !rules_changed;
            let wait = |Collector { signals, conf, sample_loop, .. }: &mut Collector| {
                signals.wait(next.at, conf, has_rules.then_some(sample_loop))
            };
            rules_changed |= self.wait(wait, next.at);
            if self.signals.is_terminal_lost() {
                return EXIT_OK;
            }
        }
    }

    /// Waits while handling config updates. If that panics, waits without. Returns whether the
    /// active rules have changed, or may have.
    fn wait(&mut self, wait: impl FnOnce(&mut Collector) -> bool, until: Instant) -> bool {
        panic::catch(|| wait(self)).unwrap_or_else(|| {
            self.self_metrics.panics += 1;
            self.recover();
            sleep_until(until);
            true
        })
    }

    /// Takes a sample and encodes its points. Returns whether the active rules have changed.
    fn cycle(&mut self, cycle: u64, rules_changed: bool, window: Duration) -> bool {
        self.buffer.clear();
        if rules_changed {
            self.sample_loop.rules_changed(&mut self.conf.rules);
        }
        let (conf, images) = (&mut self.conf, &mut self.images);
        let changed = self.sample_loop.sample(conf, images, &self.signals, cycle, window);
        self.self_metrics.skipped_cycles += self.schedule.skip(Instant::now());
        let time = self.time();
        self.update_self_metrics();
        let page_size = self.sample_loop.sampler.page_size();
        let memory = Memory { unit: self.settings.mem_unit, page_size };
        let listen = self.settings.listen.as_mut().map(|(_, encoder)| encoder);
        let prometheus = listen.map(|encoder| (encoder, &mut self.prometheus));
        let sample = self.sample_loop.sampler.last_sample();
        for (encoder, buffer) in
            iter::once((&mut self.settings.encoder, &mut self.buffer)).chain(prometheus)
        {
            match encoder.begin(buffer, time) {
                Ok(mut points) => {
                    let shown = Shown { memory, groups: &self.settings.metrics };
                    let self_metrics = &self.self_metrics;
                    match &sample {
                        Some(sample) => {
                            points::write(&mut points, sample, &self.images, self_metrics, shown);
                        }
                        None => points::write_self(&mut points, self_metrics),
                    }
                    // Each series has one point.
                    let _ = points.finish();
                }
                // Timestamps always increase, except in 2106.
                Err(error) => log::line(&error.to_string()),
            }
        }
        if self.settings.debug
            && let Some(sample) = self.sample_loop.sampler.last_sample()
        {
            let SelfMetrics { cpu_milliseconds: cpu, wall_milliseconds: wall, .. } =
                self.self_metrics;
            let health = sample.health();
            log::line(&format!(
                "debug: cycle {cycle}: {cpu:.3} ms of CPU, {wall:.0} ms, {} processes, {} matched, {} fds held",
                health.processes, health.matched, health.fds_held
            ));
        }
        changed
    }

    /// The timestamp of a cycle's points.
    fn time(&mut self) -> Timestamp {
        let time = self.timestamps.now(self.schedule.second());
        if let Some(seconds) = time.clock_set_back {
            log::line(&format!(
                "clock set back by {seconds} s; timestamps continue from the previous value until \
                 the clock catches up or the collector restarts"
            ));
        }
        time.time
    }

    /// Updates the metrics of the collector itself.
    fn update_self_metrics(&mut self) {
        let rules = &self.conf.rules;
        self.self_metrics.bad_lines = self.conf.bad_lines as u64;
        self.self_metrics.panics += std::mem::take(&mut self.conf.panics);
        self.self_metrics.conf_loaded = self.conf.loaded;
        self.self_metrics.rules = rules.count() as u64;
        self.self_metrics.step_limited_rules = rules.step_limited_count() as u64;
        self.meter.read(&mut self.self_metrics);
    }

    /// Continues after a panic, which aborted the cycle. The first time, the sampler keeps its
    /// state, so that the counters continue. If the next cycle panics too, or this method, a new
    /// sampler is created.
    fn recover(&mut self) {
        self.buffer.clear();
        let is_first = !std::mem::replace(&mut self.panicked_last_cycle, true);
        let is_recovered = is_first
            && panic::catch(|| {
                failpoint::hit("panic:recover");
                self.sample_loop.sampler.recover_after_panic();
            })
            .is_some();
        if !is_recovered {
            panic::catch(|| match new_sampler(&self.settings, self.bpf.clone()) {
                Ok(sampler) => {
                    let capabilities = self.self_metrics.capabilities;
                    self.sample_loop = SampleLoop::new(sampler, capabilities);
                }
                Err(error) => log::line(&with_source(&error)),
            });
        }
    }

    /// Encodes the metrics of the collector itself instead of a lost cycle, mainly the number of
    /// panics. tcollector kills a silent collector, and no alert would show the reason.
    fn emit_self_metrics(&mut self) {
        let is_encoded = panic::catch(|| {
            let time = self.time();
            self.update_self_metrics();
            let listen = self.settings.listen.as_mut().map(|(_, encoder)| encoder);
            let prometheus = listen.map(|encoder| (encoder, &mut self.prometheus));
            for (encoder, buffer) in
                iter::once((&mut self.settings.encoder, &mut self.buffer)).chain(prometheus)
            {
                if let Ok(mut points) = encoder.begin(buffer, time) {
                    points::write_self(&mut points, &self.self_metrics);
                    let _ = points.finish();
                }
            }
        });
        if is_encoded.is_none() {
            self.buffer.clear();
        }
    }
}
