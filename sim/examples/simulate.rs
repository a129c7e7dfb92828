//! Runs a scenario on the classic lab and prints figures and time: `simulate SCENARIO SEED`.

use homeostat_sim::run::{Control, Setup, run};
use homeostat_sim::scenario::Scenario;
use homeostat_sim::shipped;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let text = args.next().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_else(|| shipped::MONTH.to_owned());
    let seed = args.next().and_then(|seed| seed.parse().ok()).unwrap_or(1);
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
    std::thread::Builder::new()
        .stack_size(homeostat_kernel::STACK_BYTES_MIN)
        .spawn(move || {
            for control in Control::ALL {
                let setup = Setup {
                    lab: Arc::new(shipped::classic().expect("lab")),
                    scenario: Scenario::parse(&text).expect("scenario"),
                    policies: policies.clone(),
                    seed,
                    control,
                    broken_guard: None,
                };
                let began = Instant::now();
                match run(&setup) {
                    Ok(done) => {
                        println!("{:.2}s {}", began.elapsed().as_secs_f64(), serde_json::to_string_pretty(&done.figures).expect("json"));
                        if control == Control::Ours {
                            for line in done.tally.acts.iter().filter(|l| l.what != "notify").take(60) {
                                println!("{} {} {} {}", line.at, line.policy, line.verb, line.target);
                            }
                            for (worth, line) in done.tally.judged.iter().filter(|(w, _)| *w > homeostat_sim::plant::Worth::Useful).take(40)
                            {
                                println!("{worth:?} {} {} {} {}", line.at, line.verb, line.target, line.why);
                            }
                            println!("notes {:?}", done.tally.notes);
                            for v in done.violations.iter().take(20) {
                                println!("VIOLATION {v}");
                            }
                        }
                    }
                    Err(error) => println!("{error}"),
                }
            }
        })
        .expect("thread")
        .join()
        .expect("run");
}
