//! The programs, at pinned versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// A program that is built from a Go module.
#[derive(Debug)]
struct Built {
    /// The name by which the tests find it.
    name: &'static str,
    /// The package, which begins with its module.
    package: &'static str,
    module: &'static str,
    version: &'static str,
    /// Build tags.
    tags: &'static str,
}

/// Without service discovery by the clients of clouds, which are most of the program.
const NO_DISCOVERY: &str = "remove_all_sd";

const VICTORIA: &str = "github.com/VictoriaMetrics/VictoriaMetrics";

const BUILT: [Built; 7] = [
    Built {
        name: "prometheus",
        package: "github.com/prometheus/prometheus/cmd/prometheus",
        module: "github.com/prometheus/prometheus",
        version: "v0.316.0",
        tags: NO_DISCOVERY,
    },
    Built {
        name: "promtool",
        package: "github.com/prometheus/prometheus/cmd/promtool",
        module: "github.com/prometheus/prometheus",
        version: "v0.316.0",
        tags: NO_DISCOVERY,
    },
    Built {
        name: "victoria-metrics",
        package: "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics",
        module: VICTORIA,
        version: "v1.151.0",
        tags: "",
    },
    Built {
        name: "vmagent",
        package: "github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent",
        module: VICTORIA,
        version: "v1.151.0",
        tags: "",
    },
    Built {
        // As Debian calls it.
        name: "prometheus-node-exporter",
        package: "github.com/prometheus/node_exporter",
        module: "github.com/prometheus/node_exporter",
        version: "v1.12.1",
        tags: "",
    },
    Built {
        name: "process-exporter",
        package: "github.com/ncabatoff/process-exporter/cmd/process-exporter",
        module: "github.com/ncabatoff/process-exporter",
        version: "v0.8.7",
        tags: "",
    },
    Built {
        name: "telegraf",
        package: "github.com/influxdata/telegraf/cmd/telegraf",
        module: "github.com/influxdata/telegraf",
        version: "v1.37.2",
        tags: "custom,inputs.execd,inputs.prometheus,outputs.http,outputs.influxdb,parsers.influx,\
               serializers.influx,serializers.prometheusremotewrite",
    },
];

/// The modules of the OpenTelemetry collector in otelcol.go, and its version.
const OTELCOL: &str = "0.165.1";
const OTELCOL_MODULES: [&str; 12] = [
    "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusremotewriteexporter v0.165.1",
    "github.com/open-telemetry/opentelemetry-collector-contrib/processor/cumulativetodeltaprocessor v0.165.1",
    "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver v0.165.1",
    "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver v0.165.1",
    "go.opentelemetry.io/collector/component v1.71.0",
    "go.opentelemetry.io/collector/confmap v1.71.0",
    "go.opentelemetry.io/collector/confmap/provider/fileprovider v1.71.0",
    "go.opentelemetry.io/collector/exporter v1.71.0",
    "go.opentelemetry.io/collector/exporter/debugexporter v0.165.0",
    "go.opentelemetry.io/collector/otelcol v0.165.0",
    "go.opentelemetry.io/collector/receiver v1.71.0",
    "go.opentelemetry.io/collector/service v0.165.0",
];

/// Debian's packages and the directories of their programs.
const UNPACKED: [(&str, &str); 3] =
    [("collectd-core", "usr/sbin"), ("influxdb", "usr/bin"), ("zabbix-agent2", "usr/sbin")];

/// Installs what is missing; returns the directories of all programs.
pub(super) fn install() -> Result<Vec<PathBuf>> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = cache.or_else(home).ok_or("neither HOME nor XDG_CACHE_HOME is set")?;
    let cache = cache.join("psstat-agents");
    let mut directories = Vec::new();
    for tool in &BUILT {
        let Built { name, package, module, version, tags } = tool;
        let modules = [format!("{module} {version}")];
        let directory = cache.join(format!("{name}-{version}"));
        build(&directory, name, &modules, package, tags, None)?;
        directories.push(directory);
    }
    let directory = cache.join(format!("otelcol-{OTELCOL}"));
    let source = include_str!("otelcol.go");
    build(&directory, "otelcol", &OTELCOL_MODULES, ".", NO_DISCOVERY, Some(source))?;
    directories.push(directory);
    for (package, programs) in UNPACKED {
        directories.push(unpack(&cache, package)?.join(programs));
    }
    Ok(directories)
}

/// Builds a package of modules, or this source, as `directory/name`.
fn build(
    directory: &Path,
    name: &str,
    modules: &[impl AsRef<str>],
    package: &str,
    tags: &str,
    source: Option<&str>,
) -> Result<()> {
    let program = directory.join(name);
    if program.exists() {
        return Ok(());
    }
    eprintln!("building {}", directory.display());
    let work = directory.join("source");
    fs::create_dir_all(&work)?;
    let require: String =
        modules.iter().map(|module| format!("require {}\n", module.as_ref())).collect();
    fs::write(work.join("go.mod"), format!("module {name}\n\ngo 1.26.0\n\n{require}"))?;
    if let Some(source) = source {
        fs::write(work.join("main.go"), source)?;
    }
    let done = Command::new("nice")
        .args(["go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-tags", tags, "-o"])
        .args([program.as_os_str(), package.as_ref()])
        .current_dir(&work)
        .env("CGO_ENABLED", "0")
        .status()?;
    if done.success() { Ok(()) } else { Err(format!("{name} cannot be built").into()) }
}

/// Unpacks a package of Debian; returns the directory.
fn unpack(cache: &Path, package: &str) -> Result<PathBuf> {
    let directory = cache.join(package);
    if directory.exists() {
        return Ok(directory);
    }
    let download = cache.join(format!("{package}.deb"));
    fs::create_dir_all(&download)?;
    // apt's own user cannot write to the directory.
    let apt = ["-o", "APT::Sandbox::User=root", "download", "-qq", package];
    let done = Command::new("apt-get").args(apt).current_dir(&download).status()?;
    if !done.success() {
        return Err(format!("{package} cannot be downloaded; `apt-get update` may help").into());
    }
    let file = fs::read_dir(&download)?.next().ok_or("no package")??.path();
    let new = cache.join(format!("{package}.new"));
    let done = Command::new("dpkg-deb").arg("--extract").arg(file).arg(&new).status()?;
    if !done.success() {
        return Err(format!("{package} cannot be unpacked").into());
    }
    fs::rename(&new, &directory)?;
    fs::remove_dir_all(&download)?;
    Ok(directory)
}
