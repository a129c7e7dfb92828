//! Dev runner.
use homeostat_sim::run::{Control, Setup, run};
use homeostat_sim::{expect, scenario::Scenario, shipped};
use std::sync::Arc;

fn main() {
    let mut policies = shipped::policies();
    for entry in std::fs::read_dir("policies").into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "rhai") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            policies.push(homeostat_model::PolicySource {
                id: name.as_str().into(),
                path: name.clone(),
                text: std::fs::read_to_string(&path).unwrap_or_default(),
                overrides: Default::default(),
            });
        }
    }
    let verbose = std::env::var("V").is_ok();
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let broken_guard = std::env::var("BREAK").ok();
    std::thread::Builder::new()
        .stack_size(homeostat_kernel::STACK_BYTES_MIN)
        .spawn(move || {
            for file in std::env::args().skip(1) {
                let scenario = match Scenario::parse(&std::fs::read_to_string(&file).expect("read")) {
                    Ok(s) => s,
                    Err(e) => {
                        println!("{file}: {e}");
                        continue;
                    }
                };
                let began = std::time::Instant::now();
                let setup = Setup {
                    lab: Arc::new(shipped::classic().expect("lab")),
                    scenario: scenario.clone(),
                    policies: policies.clone(),
                    seed,
                    control: Control::Ours,
                    broken_guard: broken_guard.clone(),
                };
                match run(&setup) {
                    Ok(done) => {
                        let unmet = expect::unmet(&scenario, &done, &[]);
                        println!(
                            "{} {:.2}s {}",
                            if unmet.is_empty() { "ok  " } else { "FAIL" },
                            began.elapsed().as_secs_f64(),
                            scenario.name
                        );
                        for u in &unmet {
                            println!("    {u}");
                        }
                        if !unmet.is_empty() || verbose {
                            for t in done.tally.troubles.iter().take(10) {
                                println!("      trouble {t}");
                            }
                            println!("      notes {:?}", done.tally.notes);
                            for (at, l) in done.log.iter().take(20) {
                                println!("      log {} {l}", at.since(setup.begin()));
                            }
                            for l in done.tally.rulings.iter().take(30) {
                                println!("      ruled {} {} {} {} {} {}", l.at, l.policy, l.verb, l.target, l.what, l.why);
                            }
                            for l in done.tally.acts.iter().filter(|l| l.what != "notify").take(30) {
                                println!("      act {} {} {} {}", l.at, l.policy, l.verb, l.target);
                            }
                            for l in done.tally.claims.iter().take(30) {
                                println!("      claim {} {} {} {} {}", l.at, l.verb, l.target, l.what, l.why);
                            }
                            println!("      outside {:?}", done.outside);
                        }
                    }
                    Err(e) => println!("FAIL {file}: {e}"),
                }
            }
        })
        .expect("thread")
        .join()
        .expect("run");
}
