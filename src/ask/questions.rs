//! Questions: what is asked, about what, and when; word order matters little, but every word must be known or name something.
//!
//! Deliberately absent: answers. A complaint is no request: it is asked back with what can be looked at and what can be done. An editor
//! breaks this by dropping a word that is neither a name nor in the vocabulary: the answer would be about something else.

use super::grammar::{after, ask, choices_of, is_one_of, said};
use super::known::{Found, Known, Match, Named, Sought, is_article};
use super::noun::{Noun, noun};
use super::requests;
use super::words::{self, Period, Token, TokenKind};
use super::{Asked, CHOICES_MAX, Choice, Intent, Predicted, Resource, Subject, Understood};
use homeostat_model::{ActionId, PolicyId, Target};

const COMMON: &str = "is|are|was|were|am|be|been|being|do|does|did|doing|done|has|have|had|will|would|could|can|should|going|to|what|which|who|how|much|many|\
    there|of|on|for|in|at|by|with|from|about|it|its|'s|i|me|you|your|us|this|that|these|and|show|list|give|tell|get|display|print|see|view|look|check|know|\
    total|per|over|during|so|far|any|some|current|currently|right|same|also|or|overall|policy|action|need|want|like|homeostat|a|an|the";
const HOUSE: &str = "everything|all|house|home|lab|homelab|cluster|everyone|we|us|system|systems|things|nodes|machines|servers|services|pods|workloads|whole|\
    network|anything|infrastructure|it";
const WHY: &str = "why|explain|come|reason|caused|made|go|goes|went|gone|act|acts|acted|acting|fire|fires|fired|firing|propose|proposes|proposed|restart|restarted|\
    restarting|reboot|rebooted|rebooting|wake|wakes|woke|woken|waking|awake|sleep|sleeps|slept|sleeping|asleep|put|scale|scaled|scaling|up|down|off|turn|turned|\
    switch|switched|shut|delete|deleted|evict|evicted|drain|drained|cordon|cordoned|pause|paused|back|backed|clean|cleaned|happen|happened|happening|slow|broken|\
    failing|failed|fail|dead|offline|unreachable|crashing|crashed|hot|full|busy|high|low|still|again|always|often|denied|deny|deferred|defer|shadowed|refused|\
    allowed|admitted|decide|decided|not|nothing|never|no|run|ran|running|done|trigger|triggered|send|sent|start|started|stop|stopped|yet";
const STATUS: &str = "status|state|health|healthy|up|down|ok|okay|fine|well|alright|good|running|awake|asleep|sleeping|alive|online|offline|reachable|broken|\
    working|sleep|dead|life|summary|overview|goes|happening|feeling|slow|still|report";
const USAGE: &str = "usage|use|uses|used|using|consumption|consume|consumes|consumed|consuming|draw|draws|drew|drawing|load|utilization|utilisation|busy|full|loaded|\
    take|takes|took|eat|eats|need|needs|left|free|amount|resource|resources|team|person|service|node|spent";
const COST: &str = "cost|costs|costing|spend|spends|spent|spending|bill|expensive|money|price|euro|euros|pay|paid|paying|expense|expenses|power|energy|electricity|run|running|team|person|cheap|budget|make|makes";
const SAVINGS: &str =
    "save|saves|saved|saving|savings|money|energy|power|electricity|euros|joules|made|earn|earned|brought|spared|cost|costs|sleeping";
const INCIDENTS: &str = "incident|incidents|alert|alerts|alarm|alarms|problem|problems|issue|issues|outage|outages|happened|happen|happens|broke|broken|failed|failing|wrong|\
    open|active|new|recent|latest|happening|going|firing|went|goes|fault|faults|trouble|matter|all";
const PREDICT: &str = "when|predict|forecast|prediction|until|till|before|long|full|run|runs|running|out|fill|fills|filled|filling|up|space|memory|disk|disks|storage|room|fail|fails|\
    failing|break|die|dies|breaks|expire|expires|expired|expiring|soon|time|left|ram|get|gets|renewal";
const DRILL: &str = "plan|prepare|propose|drill|drills|chaos|experiment|exercise|fire|test|could|possible|next";
const COMPLAINTS: &str = "slow|slowly|slower|laggy|broken|broke|fix|repair|wrong|cheaper|faster|better|bad|crash|crashed|crashes|crashing|dead|offline|unreachable|hangs|hanging|stuck|\
    down|too|weird|strange|hot|loud|noisy|expensive|unstable|flaky|lags|fails|failing|improve|optimize|optimise|solve";
const WORKS: &str =
    "work|works|working|respond|responds|responding|reachable|load|loads|loading|answer|answers|answering|available|online|up";

mod may;

pub(super) use may::may;

/// After so many unknown words no name is looked for in the rest.
const LEFT_MAX: usize = 4;

/// The resource that a word means.
pub(super) fn resource(token: &Token) -> Option<Resource> {
    let list = [
        ("cpu|processor|cores", Resource::Cpu),
        ("memory|ram|mem", Resource::Memory),
        ("power|energy|electricity|watts|watt|kwh|joules", Resource::Power),
        ("disk|disks|storage|space", Resource::Disk),
    ];
    list.into_iter().find(|(words, _)| is_one_of(token, words)).map(|(_, resource)| resource)
}

/// What a sentence holds besides its vocabulary.
#[derive(Debug, Default)]
struct Scan {
    names: Vec<Noun>,
    period: Option<Period>,
    resources: Vec<Resource>,
    action: Option<ActionId>,
    left: Vec<Token>,
}

fn scan(tokens: &[Token], known: &Known, vocabulary: &str) -> Scan {
    let mut scan = Scan::default();
    let is_known = |token: &Token| is_one_of(token, COMMON) || is_one_of(token, vocabulary);
    let mut i = 0;
    while i < tokens.len() {
        let rest = &tokens[i..];
        if let Some((noun, len)) = name_at(rest, known, &is_known) {
            scan.names.push(noun);
            i += len;
        } else if let (Some((period, len)), None) = (words::period(rest), scan.period) {
            scan.period = Some(period);
            i += len;
        } else if let (Some((action, len)), None) = (action(rest), scan.action) {
            scan.action = Some(action);
            i += len;
        } else {
            let token = &tokens[i];
            let referred = i > 0
                && tokens[i - 1].is_any(&["of", "on", "for", "with", "about"])
                && token.is_any(&["it", "that", "this", "them", "those"]);
            i += 1;
            if referred || scan.left.len() >= LEFT_MAX {
                scan.left.push(token.clone());
                continue;
            }
            let resource = resource(token);
            scan.resources.extend(resource);
            if resource.is_some() || is_known(token) || is_one_of(token, HOUSE) || token.is_any(&["now"]) {
                continue;
            }
            let near = noun(std::slice::from_ref(token), known, Sought::Anything, false);
            match near.found {
                Found::One(..) | Found::Several(_) => scan.names.push(near),
                _ => scan.left.push(token.clone()),
            }
        }
    }
    scan.resources.sort_unstable();
    scan.resources.dedup();
    scan
}

/// The longest exact name here. A word of the vocabulary is no name, unless it says its kind (`node/it`) or stands in quotes.
fn name_at(tokens: &[Token], known: &Known, is_known: &dyn Fn(&Token) -> bool) -> Option<(Noun, usize)> {
    if let [kind, name, ..] = tokens
        && !name.is_break()
    {
        let of = |named: &&&Named| match named {
            Named::Policy(_) => kind.is("policy"),
            Named::Person(_) => kind.is("person"),
            Named::Team(_) => kind.is("team"),
            Named::Thing(_) => false,
        };
        let found = known.exact(&name.text);
        if let Some(named) = found.iter().find(of) {
            let noun = Noun { words: name.raw.clone(), vague: false, found: Found::One((*named).clone(), Match::Exact) };
            return Some((noun, 2));
        }
    }
    (1..=tokens.len().min(4)).rev().find_map(|len| {
        let window = &tokens[..len];
        let ends = [window.first()?, window.last()?];
        let kind_said = window.iter().any(|token| token.text.contains('/'));
        if window.iter().any(Token::is_break) || (!kind_said && ends.iter().any(|token| is_known(token) && window.len() == 1)) {
            return None;
        }
        let little = |token: &Token| is_one_of(token, COMMON) || is_article(&token.text);
        if len > 1 && ends.iter().any(|token| little(token)) {
            return None;
        }
        let noun = noun(window, known, Sought::Anything, true);
        matches!(&noun.found, Found::One(..) | Found::Several(_)).then_some((noun, len))
    })
}

/// `a12`, `action 12`, `#12`.
fn action(tokens: &[Token]) -> Option<(ActionId, usize)> {
    let digits = |text: &str| {
        (!text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok().map(ActionId))
            .flatten()
    };
    let first = tokens.first().filter(|token| token.kind == TokenKind::Word)?;
    if let Some(id) = first.text.strip_prefix(['a', '#']).and_then(digits) {
        return Some((id, 1));
    }
    let next = tokens.get(1).filter(|_| first.is("action"))?;
    digits(next.text.trim_start_matches(['a', '#'])).map(|id| (id, 2))
}

#[derive(Copy, Clone, Debug, PartialEq)]
enum Topic {
    Why,
    Drill,
    Predict,
    Savings,
    Cost,
    Usage,
    Incidents,
    Status,
}

fn topic(tokens: &[Token]) -> Option<(Topic, &'static str)> {
    let has = |words: &str| tokens.iter().any(|token| is_one_of(token, words));
    let begins = |patterns: &[&str]| patterns.iter().any(|pattern| after(pattern, tokens).is_some());
    let opens = begins(&["how|what|show|which|who|is|are|list|give|tell|does|did|was"]);
    let short = tokens.iter().any(|token| resource(token).is_some());
    Some(if begins(&["why|explain", "how come", "what caused|made", "for what reason", "what is reason"]) {
        (Topic::Why, WHY)
    } else if has("drill|drills") || begins(&["plan chaos|experiment", "plan an|a experiment"]) {
        (Topic::Drill, DRILL)
    } else if begins(&["predict|forecast"])
        || begins(&["when will|does|is|do|are", "how long until|till|before", "will", "how soon"])
            && has("full|fill|fills|expire|expires|expiring|fail|fails|out|die|break")
        || begins(&["does|is|do|are"]) && has("expire|expires|expiring")
    {
        (Topic::Predict, PREDICT)
    } else if has("save|saves|saved|saving|savings|spared") {
        (Topic::Savings, SAVINGS)
    } else if has("cost|costs|costing|spend|spends|spent|spending|bill|expensive|money|price|pay|paid|expenses") {
        (Topic::Cost, COST)
    } else if has(
        "usage|use|uses|used|using|consumption|consume|consumes|consumed|draw|draws|drawing|load|utilization|utilisation|busy|loaded",
    ) || (short && opens)
        || begins(&["how full"])
        || (opens && has("full"))
        || (short && tokens.len() == 2)
        || (short && tokens.len() <= 6 && tokens.iter().any(|token| is_one_of(token, "of|on|for|'s")))
    {
        (Topic::Usage, USAGE)
    } else if has("incident|incidents|alert|alerts|alarm|alarms|problem|problems|issues|outage|outages|happened|wrong|firing|trouble")
        || begins(&["what broke|failed|fails|went", "what is broken|failing", "what happens"])
    {
        (Topic::Incidents, INCIDENTS)
    } else if has("status|state|health|healthy|overview|summary")
        || begins(&[
            "how is|are|goes",
            "is|are",
            "what is|are going|up|happening|down|asleep|awake|running|online|offline|doing",
            "which|what nodes|machines|services|pods",
            "show|list",
            "what is|are you|it|everything",
            "what about",
            "how about",
        ])
    {
        (Topic::Status, STATUS)
    } else {
        return None;
    })
}

/// A question, or what to ask back; `None` where no question is seen.
pub(super) fn read(tokens: &[Token], known: &Known) -> Option<Understood> {
    let (topic, vocabulary) = topic(tokens)?;
    let opens = [
        "how|what|show|which|who|is|are|list|give|tell|does|did|was|why|explain|when|will|predict|forecast|plan|status|cost|usage|savings|incidents",
    ];
    let asks = opens.iter().any(|words| after(words, tokens).is_some());
    if !asks && tokens.iter().any(|token| is_one_of(token, "too|fix|cheaper|faster|slow|broken|repair|down")) {
        return None;
    }
    let experiment = if topic == Topic::Drill {
        tokens.iter().position(|token| token.is("experiment")).and_then(|at| tokens.get(at + 1)).filter(|token| !token.is_break())
    } else {
        None
    };
    let at = experiment.and_then(|name| tokens.iter().position(|token| std::ptr::eq(token, name)));
    let without: Vec<Token> = tokens.iter().enumerate().filter(|(i, _)| Some(*i) != at).map(|(_, token)| token.clone()).collect();
    let scan = scan(&without, known, vocabulary);
    if !scan.left.is_empty() {
        let near: Vec<Choice> = offers(&scan, tokens, known);
        return Some(ask(format!("`{}` is nothing that is known here. What is meant?", said(&scan.left)), near));
    }
    Some(settle(topic, tokens, &scan, experiment.map(|token| token.raw.clone())))
}

/// The same sentence with near names in the place of what was not known.
fn offers(scan: &Scan, tokens: &[Token], known: &Known) -> Vec<Choice> {
    let [only] = scan.left.as_slice() else { return Vec::new() };
    let near = known.nearest(&only.text);
    let with = |named: &Named| {
        let name: Vec<Token> = named.said().split(' ').map(Token::word).collect();
        let whole: Vec<Token> = tokens.iter().flat_map(|token| if token == only { name.clone() } else { vec![token.clone()] }).collect();
        read(&whole, known).filter(|read| matches!(read, Understood::Question(_)))
    };
    near.iter().filter_map(with).flat_map(|read| choices_of(&read)).take(CHOICES_MAX).collect()
}

fn settle(topic: Topic, tokens: &[Token], scan: &Scan, experiment: Option<String>) -> Understood {
    let many = matches!(topic, Topic::Why | Topic::Drill);
    if scan.names.len() > if many { 2 } else { 1 } {
        return ask("That names more than one thing. One at a time: which?".into(), Vec::new());
    }
    let bearers = |noun: &Noun| match &noun.found {
        Found::One(named, _) => vec![named.clone()],
        Found::Several(named) => named.clone(),
        _ => Vec::new(),
    };
    let mut readings: Vec<Vec<Named>> = vec![Vec::new()];
    for noun in &scan.names {
        readings =
            readings.iter().flat_map(|before| bearers(noun).into_iter().map(|named| [before.clone(), vec![named]].concat())).collect();
    }
    let mut intents: Vec<Intent> = Vec::new();
    for intent in readings.iter().take(64).filter_map(|names| intent(topic, tokens, scan, names, experiment.clone())) {
        if !intents.contains(&intent) {
            intents.push(intent);
        }
    }
    let notes: Vec<String> = scan.names.iter().map(Noun::note).filter(|note| !note.is_empty()).collect();
    match intents.as_slice() {
        [] => nothing(topic, scan),
        [only] => asked(only.clone(), &notes.join("; ")),
        several => ask(
            "That can be about several things. Which one?".into(),
            several.iter().flat_map(|intent| choices_of(&asked(intent.clone(), ""))).take(CHOICES_MAX).collect(),
        ),
    }
}

fn nothing(topic: Topic, scan: &Scan) -> Understood {
    let about = scan.names.first().map(|noun| format!(" `{}` cannot be asked about so.", noun.words)).unwrap_or_default();
    let question = match topic {
        Topic::Why => format!("Why what? An action such as `a12`, a policy or a thing is needed.{about}"),
        _ => format!("About what?{about}"),
    };
    let offers = [Intent::Incidents { of: Subject::House, period: None }, Intent::Status { of: Subject::House }];
    ask(question, offers.into_iter().flat_map(|intent| choices_of(&asked(intent, ""))).collect())
}

pub(super) fn asked(intent: Intent, note: &str) -> Understood {
    let note = if note.is_empty() { String::new() } else { format!("; {note}") };
    let said = format!("{}{note}", spelled(&intent));
    Understood::Question(Asked { intent, said })
}

fn intent(topic: Topic, tokens: &[Token], scan: &Scan, names: &[Named], experiment: Option<String>) -> Option<Intent> {
    let has = |words: &str| tokens.iter().any(|token| is_one_of(token, words));
    let of = names.first().map_or(Subject::House, subject);
    let period = scan.period;
    let policies: Vec<PolicyId> =
        names.iter().filter_map(|named| if let Named::Policy(policy) = named { Some(policy.clone()) } else { None }).collect();
    let targets: Vec<Target> =
        names.iter().filter_map(|named| if let Named::Thing(target) = named { Some(target.clone()) } else { None }).collect();
    if scan.action.is_some() && topic != Topic::Why || period.is_some() && matches!(topic, Topic::Drill | Topic::Predict | Topic::Status) {
        return None;
    }
    let pair = policies.len() <= 1 && targets.len() <= 1 && policies.len() + targets.len() == names.len();
    Some(match topic {
        Topic::Why | Topic::Drill if !pair => return None,
        Topic::Why if has("not|nothing|never|no") => {
            if names.is_empty() || scan.action.is_some() {
                return None;
            }
            Intent::WhyNot { policy: policies.first().cloned(), target: targets.first().cloned(), period }
        }
        Topic::Why if names.is_empty() && scan.action.is_none() => return None,
        Topic::Why => Intent::Why { action: scan.action, policy: policies.first().cloned(), target: targets.first().cloned(), period },
        Topic::Drill => Intent::PlanDrill { target: targets.first().cloned(), policy: policies.first().cloned(), experiment },
        Topic::Predict => {
            let what = match () {
                () if has("expire|expires|expiring|expired|renewal") => Predicted::Expire,
                () if has("fail|fails|failing|die|dies|break|breaks") => Predicted::Fail,
                () if has("full|fill|fills|filled|filling|out") => Predicted::Full,
                () => Predicted::Anything,
            };
            Intent::Predict { of, what }
        }
        Topic::Savings => Intent::Savings { of, period },
        Topic::Cost => Intent::Cost { of, period },
        Topic::Usage => {
            let mut resources = scan.resources.clone();
            if resources.is_empty() && has("busy|loaded") {
                resources.push(Resource::Cpu);
            } else if resources.is_empty() && has("full") {
                resources.push(Resource::Disk);
            }
            Intent::Usage { of, resources, period }
        }
        Topic::Incidents => Intent::Incidents { of, period },
        Topic::Status => Intent::Status { of },
    })
}

fn subject(named: &Named) -> Subject {
    match named {
        Named::Thing(target) => Subject::Target(target.clone()),
        Named::Policy(policy) => Subject::Policy(policy.clone()),
        Named::Person(name) => Subject::Person(name.clone()),
        Named::Team(name) => Subject::Team(name.clone()),
    }
}

/// A question in the form that is read without a doubt.
pub(super) fn spelled(intent: &Intent) -> String {
    let of = |of: &Subject| match of {
        Subject::House => String::new(),
        Subject::Target(target) => format!(" of {target}"),
        Subject::Policy(policy) => format!(" of policy {policy}"),
        Subject::Person(name) => format!(" of person {name}"),
        Subject::Team(name) => format!(" of team {name}"),
    };
    let at = |period: &Option<Period>| period.map(|period| format!(" {}", period.words())).unwrap_or_default();
    let on = |policy: &Option<PolicyId>, target: &Option<Target>| {
        let policy = policy.as_ref().map(|policy| format!(" policy {policy}")).unwrap_or_default();
        let target = target.as_ref().map(|target| format!(" on {target}")).unwrap_or_default();
        format!("{policy}{target}")
    };
    match intent {
        Intent::Status { of: subject } => format!("status{}", of(subject)),
        Intent::Why { action, policy, target, period } => {
            let action = action.map(|action| format!(" {action}")).unwrap_or_default();
            format!("why{action}{}{}", on(policy, target), at(period))
        }
        Intent::WhyNot { policy, target, period } => format!("why not{}{}", on(policy, target), at(period)),
        Intent::Usage { of: subject, resources, period } => {
            let names = resources.iter().map(|resource| match resource {
                Resource::Cpu => "cpu",
                Resource::Memory => "memory",
                Resource::Power => "power",
                Resource::Disk => "disk",
            });
            let list = names.collect::<Vec<_>>().join(" and ");
            format!("{list} usage{}{}", of(subject), at(period)).trim_start().to_owned()
        }
        Intent::Cost { of: subject, period } => format!("cost{}{}", of(subject), at(period)),
        Intent::Savings { of: subject, period } => format!("savings{}{}", of(subject), at(period)),
        Intent::Incidents { of: subject, period } => format!("incidents{}{}", of(subject), at(period)),
        Intent::Predict { of: subject, what } => {
            let what = match what {
                Predicted::Full => "predict full",
                Predicted::Fail => "predict fail",
                Predicted::Expire => "predict expire",
                Predicted::Anything => "predict",
            };
            format!("{what}{}", of(subject))
        }
        Intent::WhoMay { who, what } => may::spelled_may(who, what),
        Intent::PlanDrill { target, policy, experiment } => {
            let with = experiment.as_ref().map(|name| format!(" with experiment {name}")).unwrap_or_default();
            format!("plan drill{}{with}", on(policy, target))
        }
    }
}

/// A complaint, or only a name: never a request, always what can be looked at and done.
pub(super) fn complaint(tokens: &[Token], known: &Known) -> Option<Understood> {
    let has = |words: &str| tokens.iter().any(|token| is_one_of(token, words));
    let negated = has("not|never|nothing") && has(WORKS);
    let nouns: Vec<Noun> = (0..tokens.len())
        .filter_map(|i| {
            name_at(&tokens[i..], known, &|token| is_one_of(token, COMMON) || is_one_of(token, COMPLAINTS) || is_one_of(token, WORKS))
        })
        .map(|(noun, _)| noun)
        .collect();
    let only_name = match noun(tokens, known, Sought::Anything, false) {
        noun if matches!(noun.found, Found::One(..) | Found::Several(_)) => Some(noun),
        _ => None,
    };
    if !has(COMPLAINTS) && !negated && only_name.is_none() {
        return None;
    }
    let about: Vec<Named> = match only_name.as_ref().or(nouns.first()).map(|noun| &noun.found) {
        Some(Found::One(named, _)) => vec![named.clone()],
        Some(Found::Several(named)) => named.clone(),
        _ => Vec::new(),
    };
    let mut choices: Vec<Choice> = Vec::new();
    let mut offer = |intent: Intent| choices.extend(choices_of(&asked(intent, "")));
    if has("cheaper|expensive") {
        offer(Intent::Savings { of: Subject::House, period: None });
        offer(Intent::Cost { of: Subject::House, period: Some(Period::ThisMonth) });
        offer(Intent::Usage { of: Subject::House, resources: vec![Resource::Power], period: Some(Period::ThisMonth) });
    }
    let subjects: Vec<Subject> = if about.is_empty() { vec![Subject::House] } else { about.iter().take(3).map(subject).collect() };
    for of in subjects {
        offer(Intent::Status { of: of.clone() });
        offer(Intent::Incidents { of: of.clone(), period: None });
        match of {
            Subject::Target(target) => offer(Intent::Why { action: None, policy: None, target: Some(target), period: None }),
            Subject::Policy(policy) => offer(Intent::Why { action: None, policy: Some(policy), target: None, period: None }),
            _ => {}
        }
    }
    for named in about.iter().take(3) {
        if let Named::Thing(target) = named {
            let restart = [Token::word("restart"), Token::word(target.as_str())];
            choices.extend(requests::read(&restart, known).iter().flat_map(choices_of));
        }
    }
    let mut unique: Vec<Choice> = Vec::new();
    choices.into_iter().for_each(|choice| {
        if !unique.contains(&choice) {
            unique.push(choice)
        }
    });
    unique.truncate(CHOICES_MAX);
    let question = if about.is_empty() {
        "That does not say what is to be done, or to what. Which thing is it? Or is one of these meant?"
    } else {
        "That does not say what is to be done. Look at it first, or act?"
    };
    Some(ask(question.into(), unique))
}
