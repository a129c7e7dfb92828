//! `homeostat run`: from a configuration to a running daemon, and back to an orderly end. [`start`] does the same inside another
//! program, with a clock of its own.
//!
//! Order matters: check everything, open the journal, start the kernel, then the sensors and the listeners; at the end the listeners
//! stop first and the journal last. Deliberately absent: any look at what the daemon decides.

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Outside, SensorConfig};
use crate::journal::Recorder;
use crate::live::{self, Daemon, Handle, MakeSensor, Parts};
use crate::readiness;
use crate::{own_base, rules};
use anyhow::Context;
use homeostat_actuators::Pace;
use homeostat_actuators::kube::KubeClient;
use homeostat_model::{ActuatorSpec, Event, Fault, RuleSet, Sensor};
use homeostat_sensors::exposition::ExpositionSensor;
use homeostat_sensors::host::HostSensor;
use homeostat_sensors::kepler::KeplerSensor;
use homeostat_sensors::normalise::Normaliser;
use homeostat_sensors::prometheus::PrometheusSensor;
use homeostat_sensors::smart::{ScrutinySensor, SmartSensor};
use notify::Watcher;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long actions that are under way may take to end when the daemon stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long requests that are under way may take to end then.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);
/// Changes of files are looked at together after this quiet time.
const RELOAD_QUIET: Duration = Duration::from_millis(300);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The configuration file; none: the embedded defaults.
    pub config: Option<PathBuf>,
    /// The data directory, instead of the configuration's.
    pub data: Option<PathBuf>,
    /// The address, instead of the configuration's.
    pub listen: Option<SocketAddr>,
}

/// Makes sensors out of their configuration.
pub fn make_sensors(config: &Config) -> Vec<MakeSensor> {
    config.sensors.values().cloned().map(|sensor| Arc::new(move || make_sensor(&sensor)) as MakeSensor).collect()
}

/// Makes one sensor.
///
/// # Errors
/// The sensor's own check of its configuration.
pub fn make_sensor(config: &SensorConfig) -> Result<Box<dyn Sensor>, Fault> {
    Ok(match config {
        SensorConfig::Host(config) => Box::new(HostSensor::new(config)),
        SensorConfig::Exposition(config) => {
            let normaliser = Normaliser::new(Some(config.node().to_owned()), Vec::new());
            Box::new(ExpositionSensor::new(config.clone(), Box::new(normaliser))?)
        }
        SensorConfig::Kepler(config) => Box::new(KeplerSensor::new(config)?),
        SensorConfig::Prometheus(config) => Box::new(PrometheusSensor::new(config.clone())?),
        SensorConfig::Smart(config) => Box::new(SmartSensor::new(config)?),
        SensorConfig::Scrutiny(config) => Box::new(ScrutinySensor::new(config)?),
    })
}

/// The servers that sensors read: URL and sensor.
pub fn servers(config: &Config) -> Vec<(String, String)> {
    let url = |sensor: &SensorConfig| match sensor {
        // A node's own exporter is that node: it may be acted on. Only what serves all of the house is a base.
        SensorConfig::Prometheus(config) => Some(config.url.clone()),
        SensorConfig::Scrutiny(config) => Some(config.url.clone()),
        SensorConfig::Host(_) | SensorConfig::Exposition(_) | SensorConfig::Kepler(_) | SensorConfig::Smart(_) => None,
    };
    config.sensors.iter().filter_map(|(name, sensor)| Some((url(sensor)?, name.clone()))).collect()
}

/// What a daemon in this process is started with.
pub struct Launch {
    /// The configuration in force.
    pub config: Config,
    /// The file that it was read from; read again when it or a policy changes, and on SIGHUP.
    pub config_path: Option<PathBuf>,
    /// Whether rules are loaded again at all.
    pub reloads: bool,
    /// Whether it stands on this machine. In a plant it stands on the plant's node that the configuration names, and a node of the
    /// plant that happens to have this machine's name is none of its base.
    pub is_at_home: bool,
    /// The data directory.
    pub data: PathBuf,
    /// The address, instead of the configuration's; port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// The daemon's time.
    pub clock: Arc<dyn Clock>,
    /// The pace of that time, for actuators that wait in it: the same as the clock's.
    pub pace: Pace,
}

/// A daemon that runs in this process, with its listeners.
pub struct Running {
    daemon: Daemon,
    listen: SocketAddr,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
    reloads: Option<Reloads>,
    digests: tokio::task::JoinHandle<()>,
    notes: tokio::task::JoinHandle<()>,
    desk: Option<tokio::task::JoinHandle<()>>,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// The configuration is broken, the journal cannot be opened, or the address is taken.
pub async fn run(options: RunOptions) -> anyhow::Result<()> {
    let config = Config::load(options.config.as_deref(), &Outside::real())?;
    let data = options.data.unwrap_or_else(|| config.data_dir(&Outside::real()));
    let mut running = start(Launch {
        config,
        config_path: options.config,
        reloads: true,
        is_at_home: true,
        data: data.clone(),
        listen: options.listen,
        clock: Arc::new(SystemClock::default()),
        pace: Pace::default(),
    })
    .await?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(listen = %running.listen(), data = %data.display(), "Homeostat is running.");
    let ended = tokio::select! {
        signal = stop_signal() => signal.map(|name| tracing::info!(signal = name, "Stopping.")).map_err(Into::into),
        ended = running.ended() => Err(ended),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    running.stop().await;
    ended
}

/// Starts the daemon in this process: everything is checked first, then the journal, the kernel, the listeners and the sensors begin.
/// Needs a tokio runtime with several threads around it.
///
/// # Errors
/// The configuration is broken, the journal cannot be opened, or the address is taken; nothing runs then.
pub async fn start(launch: Launch) -> anyhow::Result<Running> {
    let Launch { config, config_path, reloads, is_at_home, data, listen, clock, pace } = launch;
    check_sensors(&config).map_err(|faults| joined("sensors", &faults))?;
    let (recorder, opened) = Recorder::open(&data, config.journal_settings(), clock.now())?;
    let assembled = homeostat_actuators::registry::assemble_at(&config.actuators, &data, &opened.journal_id, pace)
        .map_err(|faults| joined("actuators", &faults))?;
    let actuators = readiness::annotated(assembled.actuators, assembled.annotator.as_ref());
    let missing = readiness::look(&actuators).await;
    for (verb, fault) in &missing {
        let off = if readiness::disables(fault) { "It is switched off until the next start" } else { "It stays, and may fail" };
        tracing::warn!(%verb, %fault, "A verb cannot be done now. {off}.");
    }
    let specs = readiness::enabled(actuators.iter().map(|actuator| actuator.spec()).collect(), &missing);
    sweep_experiments(&config, &opened.journal_id, pace, clock.now());
    let own_base = if is_at_home { own_base::find(&servers(&config), &data) } else { Vec::new() };
    let rules = rules::rule_set_on(&config, specs.clone(), own_base)?;
    let (notify, previews) = (assembled.notify, actuators.clone());
    let plainly: crate::dispatch::Announce = Arc::new(move |notice| {
        let notify = Arc::clone(&notify);
        Box::pin(async move { notify.announce(&notice).await })
    });
    let (door, desk) = crate::approvals::prepare(&config.approvals).map_err(|faults| joined("approvals", &faults))?.unzip();
    let announce = crate::approvals::over(door.clone(), Arc::clone(&plainly));
    let thinker = thinker(&config, &clock, &data)?;
    let seed = clock.now().millis() as u64;
    let daemon = live::start(Parts {
        dir: data.clone(),
        clock,
        sensors: make_sensors(&config),
        actuators,
        announce: Arc::clone(&announce),
        think: thinker.as_ref().map(|thinker| Arc::clone(thinker).think()),
        rules: rules.clone(),
        journal: config.journal_settings(),
        seed,
        opened: Some((recorder, opened)),
    })?;
    let mut serve = crate::http::ServeOptions::new(&config, &data, listen);
    (serve.actuators, serve.approvals, serve.thinker) = (previews, door, thinker.clone());
    let people = Arc::clone(&serve.people);
    let bound = crate::http::Server::bind(daemon.handle(), serve).await.and_then(|server| Ok((server.local_addr()?, server)));
    let (listen, server) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            daemon.stop(STOP_PATIENCE).await;
            return Err(anyhow::Error::from(error).context("the HTTP interface cannot be opened"));
        }
    };
    let (stop, stopping) = watch::channel(false);
    let server = tokio::spawn(server.run(stopping));
    let offset = config.arbiter.tariff.utc_offset_minutes;
    let digests = crate::digest::delivery::run(config.digest.clone(), offset, data.clone(), daemon.handle(), announce);
    let digests = tokio::spawn(digests);
    let notes =
        tokio::spawn(crate::incidents::keep::run(data.clone(), daemon.handle(), thinker.map(|thinker| thinker.author(daemon.handle()))));
    let desk = desk.map(|desk| tokio::spawn(desk.run(daemon.handle(), plainly, people)));
    let known = Known { config: config_path, data, servers: servers(&config), specs, loaded: rules };
    let reloads = reloads.then(|| watch_rules(&config, known, daemon.handle()));
    Ok(Running { daemon, listen, stop, server, reloads, digests, notes, desk })
}

/// Who can be asked, if anybody is configured.
fn thinker(config: &Config, clock: &Arc<dyn Clock>, data: &Path) -> anyhow::Result<Option<Arc<crate::reasoning::Thinker>>> {
    if config.reasoners.ask.is_empty() {
        return Ok(None);
    }
    let chain = config.reasoners.build().map_err(|faults| joined("reasoners", &faults))?;
    let thinker = crate::reasoning::Thinker::new(chain, config.reasoning.clone(), Arc::clone(clock), data);
    Ok(Some(Arc::new(thinker)))
}

/// Ends experiments whose time was over while no engine ran, beside the start: they have a deadline of their own as well.
fn sweep_experiments(config: &Config, journal_id: &str, pace: Pace, now: homeostat_model::Time) {
    let Some(kubernetes) = config.actuators.kubernetes.as_ref().filter(|kubernetes| kubernetes.chaos.is_some()) else { return };
    let client = match KubeClient::new(kubernetes, journal_id, pace) {
        Ok(client) => client,
        // The same faults have refused the start.
        Err(_) => return,
    };
    tokio::spawn(async move {
        let report = homeostat_actuators::kube::abort_expired(&client, now, homeostat_model::Span::from_mins(2)).await;
        if !report.recovered.is_empty() || !report.is_clean() {
            tracing::warn!(%report, "Experiments that an earlier engine left were ended.");
        }
    });
}

impl Running {
    /// The way to the kernel.
    pub fn handle(&self) -> Handle {
        self.daemon.handle()
    }

    /// Where the HTTP interface listens.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Ends when the HTTP interface has ended without being told to.
    pub async fn ended(&mut self) -> anyhow::Error {
        let context = format!("the HTTP interface on {} ended", self.listen);
        match (&mut self.server).await {
            Ok(()) => anyhow::Error::msg(context),
            Err(error) => anyhow::Error::from(error).context(context),
        }
    }

    /// Stops: listeners, sensors, what is under way within its patience, the journal last.
    pub async fn stop(mut self) {
        drop(self.reloads.take());
        self.digests.abort();
        self.notes.abort();
        self.desk.iter().for_each(tokio::task::JoinHandle::abort);
        let _ = self.stop.send(true);
        end(self.daemon, self.server).await;
    }
}

async fn end(daemon: Daemon, server: tokio::task::JoinHandle<()>) {
    daemon.stop(STOP_PATIENCE).await;
    // Requests may finish; a page that is still being read must not hold the daemon for long.
    if server.is_finished() {
        return;
    }
    let abort = server.abort_handle();
    if tokio::time::timeout(SERVER_PATIENCE, server).await.is_err() {
        abort.abort();
    }
}

fn joined(section: &str, faults: &[Fault]) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
    anyhow::anyhow!("the configuration of the {section} has {} problem(s):\n{}", faults.len(), lines.join("\n"))
}

/// Makes every sensor once and drops it: what is wrong with its configuration is said before anything starts.
///
/// # Errors
/// Every sensor's fault.
pub fn check_sensors(config: &Config) -> Result<(), Vec<Fault>> {
    let faults: Vec<Fault> = config.sensors.values().filter_map(|sensor| make_sensor(sensor).err()).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

async fn stop_signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| "SIGINT"),
    }
}

/// What a reload needs to know.
struct Known {
    config: Option<PathBuf>,
    data: PathBuf,
    servers: Vec<(String, String)>,
    specs: Vec<ActuatorSpec>,
    loaded: RuleSet,
}

/// Keeps the watcher alive; watching ends when it is dropped.
pub struct Reloads {
    _watcher: Option<notify::RecommendedWatcher>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Reloads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Loads rules again when a policy or the configuration changes, and on SIGHUP. Sensors, actuators and listeners stay as they are
/// until a restart.
fn watch_rules(config: &Config, known: Known, handle: Handle) -> Reloads {
    let (changed, changes) = mpsc::channel(1);
    let mut paths: Vec<PathBuf> = config.policies.dir.iter().chain(&config.policies.candidates).cloned().collect();
    // A file that is replaced gets a new inode, so its folder is watched.
    paths.extend(
        known
            .config
            .as_deref()
            .and_then(Path::parent)
            .map(|parent| if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() }),
    );
    let watcher =
        watcher(&paths, changed).map_err(|error| tracing::warn!(error = %error, "Files cannot be watched; send SIGHUP to reload.")).ok();
    let task = tokio::spawn(reload(known, handle, changes));
    Reloads { _watcher: watcher, task }
}

fn watcher(paths: &[PathBuf], changed: mpsc::Sender<()>) -> anyhow::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // One waiting signal stands for any number of changes.
            let _ = changed.try_send(());
        }
    })?;
    for path in paths {
        watcher.watch(path, notify::RecursiveMode::NonRecursive).with_context(|| format!("watch {}", path.display()))?;
    }
    Ok(watcher)
}

async fn reload(mut known: Known, handle: Handle, mut changes: mpsc::Receiver<()>) {
    let Ok(mut hangup) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) else { return };
    let mut watching = true;
    loop {
        tokio::select! {
            changed = changes.recv(), if watching => watching = changed.is_some(),
            _ = hangup.recv() => {}
        }
        tokio::time::sleep(RELOAD_QUIET).await;
        while changes.try_recv().is_ok() {}
        match rules::reread(known.config.as_deref(), known.specs.clone(), &known.servers, &known.data) {
            Ok(rules) if rules == known.loaded => {}
            Ok(rules) => {
                tracing::info!(policies = rules.policies.len(), "Loading changed rules.");
                match handle.submit(Event::Loaded(Box::new(rules.clone()))).await {
                    Ok(()) => known.loaded = rules,
                    Err(refused) => {
                        tracing::error!(refused = %refused, "The changed rules were not taken in; the next change or SIGHUP tries again.")
                    }
                }
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "The changed rules cannot be read; the old ones stay."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ScaledClock;
    use homeostat_model::{Health, Span};
    use std::time::Instant;

    fn launch(data: &Path, speed: f64) -> Launch {
        Launch {
            config: Config::default(),
            config_path: None,
            reloads: false,
            is_at_home: true,
            data: data.to_owned(),
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            clock: Arc::new(ScaledClock::from_now(speed)),
            pace: Pace::new(speed),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_in_faster_time_reads_in_that_time_and_its_reads_are_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let running = start(launch(dir.path(), 120.0)).await.unwrap();
        let (handle, listen) = (running.handle(), running.listen());
        assert_ne!(listen.port(), 0);
        assert!(std::net::TcpStream::connect(listen).is_ok());
        let end = Instant::now() + Duration::from_secs(60);
        // Eight reads in the host sensor's own rhythm take minutes of its time.
        let sensor = loop {
            let sensor = handle.status().sensors.into_iter().next();
            match sensor.filter(|sensor| sensor.reads >= 8) {
                Some(sensor) => break sensor,
                None => assert!(Instant::now() < end, "it does not read: {:?}", handle.status().sensors),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_ne!(sensor.health, Health::Blind, "{:?}", sensor.faults);
        let took = sensor.last_read_at.unwrap().since(handle.status().started_at);
        // Between eight reads lie seven intervals; the first of them is cut short by the sensor's own offset.
        let interval = HostSensor::new(&Default::default()).spec().interval;
        assert!(took >= Span(6 * interval.millis()), "by its own clock, {took} have passed");
        running.stop().await;
        assert!(std::net::TcpListener::bind(listen).is_ok(), "the port is free again");
        assert!(!dir.path().join("homeostat.sock").exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_the_address_is_taken_nothing_stays_running() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut refused = launch(dir.path(), 1.0);
        refused.listen = Some(taken.local_addr().unwrap());
        let error = format!("{:#}", start(refused).await.err().expect("the address is taken"));
        assert!(error.contains("the HTTP interface cannot be opened"), "{error}");
        // The journal's lock is free, so the next one starts.
        start(launch(dir.path(), 1.0)).await.expect("the folder is free again").stop().await;
    }
}
