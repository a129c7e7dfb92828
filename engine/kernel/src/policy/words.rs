//! The engine's errors in the words of policies: what is wrong, and what was expected.
//!
//! No message of the engine itself is ever shown: it knows neither series nor readings. An editor breaks this by passing one on
//! (`unread` is for what this version of the engine cannot say).

use super::diagnose::PolicyError;
use super::manual::ENTRIES;
use rhai::{EvalAltResult, LexError, ParseErrorType};

/// What is wrong, and what to do.
pub(super) struct Words {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

fn words(message: impl Into<String>) -> Words {
    Words { message: message.into(), help: None }
}

impl Words {
    fn help(self, help: impl Into<String>) -> Words {
        Words { help: Some(help.into()), ..self }
    }
}

/// What the parser could not read.
pub(super) fn of_parse(error: &ParseErrorType) -> Words {
    match error {
        ParseErrorType::UnexpectedEOF => words("the text ends too early: something is not closed").help("a `}` or `)` may be missing"),
        ParseErrorType::BadInput(error) => of_lex(error),
        ParseErrorType::UnknownOperator(sign) => unknown_sign(sign),
        ParseErrorType::MissingToken(token, why) => missing(token, why),
        ParseErrorType::MissingSymbol(_) => words("a sign is missing here"),
        ParseErrorType::MalformedIndexExpr(_) => words("this is no index: expected a number or a text in `[…]`"),
        ParseErrorType::MalformedCapture(_) => words("a `!` after a function's name means nothing here"),
        ParseErrorType::DuplicatedProperty(key) => words(format!("the map has the key `{key}` twice")),
        ParseErrorType::DuplicatedVariable(name) | ParseErrorType::VariableExists(name) => {
            words(format!("there is a variable `{name}` already"))
        }
        ParseErrorType::PropertyExpected => words("a name is missing here: expected a key, a label or a function"),
        ParseErrorType::VariableExpected => words("a name is missing here: expected that of a variable"),
        ParseErrorType::ForbiddenVariable(name) => words(format!("a variable cannot be called `{name}`")),
        ParseErrorType::Reserved(word) => reserved(word),
        ParseErrorType::MismatchedType(expected, found) => {
            words(format!("this is {}, expected {}", type_words(found), type_words(expected)))
        }
        ParseErrorType::ExprExpected(_) => words("a value is missing here"),
        ParseErrorType::WrongFnDefinition => words("a function stands inside another: functions stand beside each other"),
        ParseErrorType::FnDuplicatedDefinition(name, params) => {
            words(format!("there is a function `{name}` with {params} parameters already"))
        }
        ParseErrorType::FnMissingName => words("the function has no name: expected `fn name(…) { … }`"),
        ParseErrorType::FnMissingParams(name) => words(format!("`{name}` has no parameters: expected `fn {name}(…) {{ … }}`")),
        ParseErrorType::FnDuplicatedParam(name, param) => words(format!("`{name}` has two parameters called `{param}`")),
        ParseErrorType::FnMissingBody(name) => words(format!("`{name}` has no body: expected `{{ … }}`")),
        ParseErrorType::AssignmentToConstant(name) => words(format!("`{name}` is constant and cannot be changed")),
        ParseErrorType::AssignmentToInvalidLHS(_) => words("only a variable can be set with `=`").help("to compare write `==`"),
        ParseErrorType::VariableUndefined(name) => words(format!("there is no variable `{name}`")),
        ParseErrorType::ExprTooDeep => words("expressions are nested too deeply here: at most 64 levels, 32 in a function")
            .help("give the inner parts names with `let`"),
        ParseErrorType::TooManyFunctions => words("the policy has too many functions: at most 128"),
        ParseErrorType::LiteralTooLarge(what, most) => words(format!("a {what} is too large: at most {most}")),
        ParseErrorType::LoopBreak => words("`break` and `continue` stand in loops only").help("to end the evaluation write `return;`"),
        ParseErrorType::WrongDocComment => words("a `///` comment stands before a function only").help("write `//`"),
        ParseErrorType::WrongSwitchDefaultCase | ParseErrorType::WrongSwitchCaseCondition | ParseErrorType::WrongSwitchIntegerCase => {
            words("this is no case of a `switch`: expected `value => …`, and `_ => …` as the last one")
        }
        ParseErrorType::WrongExport | ParseErrorType::ModuleUndefined(_) => words("a policy is one file: there are no modules"),
        _ => unread(),
    }
}

fn unread() -> Words {
    words("this cannot be read")
}

fn of_lex(error: &LexError) -> Words {
    match error {
        LexError::UnexpectedInput(text) => words(format!("`{text}` cannot stand here")),
        LexError::UnterminatedString => words("the text is not closed").help("a text ends with the quote that it began with"),
        LexError::StringTooLong(most) => words(format!("the text is too long: at most {most} bytes")),
        LexError::MalformedEscapeSequence(text) => {
            words(format!("`{text}` means nothing in a text")).help("a backslash itself is written `\\\\`")
        }
        LexError::MalformedNumber(text) => words(format!("`{text}` is not a number")).help("spans are texts: `\"5m\"`"),
        LexError::MalformedChar(_) => words("a text stands in double quotes or backticks").help("write `\"…\"` instead of `'…'`"),
        LexError::MalformedIdentifier(text) => words(format!("`{text}` is not a name")),
        LexError::ImproperSymbol(sign, _) if sign == "eval" => {
            words("there is no `eval` in a policy").help("a policy cannot run text as code")
        }
        LexError::ImproperSymbol(sign, _) => unknown_sign(sign),
        LexError::Runtime(_) => unread(),
        _ => unread(),
    }
}

fn unknown_sign(sign: &str) -> Words {
    let help = match sign {
        "===" => "write `==`",
        "!==" | "<>" => "write `!=`",
        "->" | "=>" | ":=" | "<-" => "a value is set with `=`, a function is called with `name(…)`",
        "++" | "--" => "write `x += 1` or `x -= 1`",
        "::" => "a policy is one file: there are no modules",
        "and" => "write `&&`",
        "or" => "write `||`",
        _ => return reserved(sign),
    };
    words(format!("there is no operator `{sign}`")).help(help)
}

fn reserved(word: &str) -> Words {
    match word {
        "import" | "export" | "module" | "use" | "package" => {
            words(format!("there is no `{word}` in a policy")).help("a policy is one file and imports nothing")
        }
        "eval" => words("there is no `eval` in a policy").help("a policy cannot run text as code"),
        _ => words(format!("`{word}` cannot stand here")),
    }
}

/// The engine says in its own way what a sign is needed for; what was meant is told by the sign.
fn missing(token: &str, why: &str) -> Words {
    let help = match token {
        ";" => "statements end with `;`",
        ")" if why.contains("function call") || why.contains("arguments") => "the arguments of the call are not closed",
        ")" => "a `(` is not closed, or the sign before this is no operator",
        "}" if why.contains("object map") => "a map is written `#{ key: value, … }`",
        "}" => "a block is not closed",
        "]" => "an array or index is not closed",
        ":" => "a map is written `#{ key: value, … }`",
        "," => "values are separated by `,`, and a call is closed by `)`",
        "{" => "a block stands in `{ … }`",
        _ => return words(format!("`{token}` is missing here")),
    };
    words(format!("`{token}` is missing here")).help(help)
}

/// What a script stumbled over while it ran.
pub(super) fn of_run(error: &EvalAltResult) -> Words {
    match error {
        EvalAltResult::ErrorParsing(error, _) => of_parse(error),
        EvalAltResult::ErrorVariableExists(name, _) => words(format!("there is a variable `{name}` already")),
        EvalAltResult::ErrorForbiddenVariable(name, _) => words(format!("a variable cannot be called `{name}`")),
        EvalAltResult::ErrorVariableNotFound(name, _) => words(format!("there is no variable `{name}`")),
        EvalAltResult::ErrorPropertyNotFound(name, _) => words(format!("there is no `{name}` in this value")),
        EvalAltResult::ErrorIndexNotFound(index, _) => words(format!("there is no `{index}` in this value")),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => no_function(signature),
        EvalAltResult::ErrorMismatchDataType(expected, found, _) | EvalAltResult::ErrorMismatchOutputType(expected, found, _) => {
            words(format!("this is {}, expected {}", type_words(found), type_words(expected)))
        }
        EvalAltResult::ErrorIndexingType(kind, _) => {
            let kind = type_words(kind.split([' ', '[']).next().unwrap_or_default());
            words(format!("`[…]` or `.name` means nothing for {kind}"))
        }
        EvalAltResult::ErrorArrayBounds(len, index, _) => words(format!("the array has {len} items, there is no number {index}")),
        EvalAltResult::ErrorStringBounds(len, index, _) => words(format!("the text has {len} characters, there is no number {index}")),
        EvalAltResult::ErrorBitFieldBounds(..) => words("a number has no such bit"),
        EvalAltResult::ErrorFor(_) => words("`for` needs an array, such as `all(\"…\")` gives"),
        EvalAltResult::ErrorNonPureMethodCallOnConstant(name, _) | EvalAltResult::ErrorAssignmentToConstant(name, _) => {
            words(format!("`{name}` is constant and cannot be changed"))
        }
        EvalAltResult::ErrorDotExpr(..) => words("nothing can be asked of this value with `.`"),
        EvalAltResult::ErrorArithmetic(what, _) => arithmetic(what),
        EvalAltResult::ErrorTooManyOperations(_) => {
            words("the evaluation takes more than 200000 operations: a loop may never end").help("loop over the array of `all(\"…\")`")
        }
        EvalAltResult::ErrorTooManyVariables(_) => words("the evaluation has more than 256 variables"),
        EvalAltResult::ErrorStackOverflow(_) => {
            words("functions call each other too deeply: the stack of calls is full").help("a function may call itself without end")
        }
        EvalAltResult::ErrorDataTooLarge(..) => {
            words("a text, an array or a map grows too large: at most 64 KiB of text, 10000 items, 1000 keys")
        }
        EvalAltResult::ErrorRuntime(value, _) => words(format!("the script threw `{value}`")),
        _ => words("the evaluation cannot go on here"),
    }
}

fn arithmetic(what: &str) -> Words {
    let what = what.to_lowercase();
    let (kind, rest) = what.split_once(':').map_or((what.as_str(), ""), |(kind, rest)| (kind, rest.trim()));
    let of = if rest.is_empty() { String::new() } else { format!(": `{rest}`") };
    match kind {
        _ if kind.contains("zero") => words(format!("division by zero{of}")),
        _ if kind.contains("overflow") => {
            words(format!("arithmetic overflow: the whole number is too large{of}")).help("numbers with a point (`1.0`) have no such end")
        }
        _ => words(format!("this cannot be computed{of}")),
    }
}

/// `over (Series, i64)`: no function of this name takes this.
fn no_function(signature: &str) -> Words {
    let (name, given) = signature.split_once('(').unwrap_or((signature, ""));
    let name = name.trim();
    let given: Vec<&str> = given.trim_end_matches(')').split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(type_words).collect();
    let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if operator {
        let message = format!("`{name}` means nothing between {}", given.join(" and "));
        return match given.contains(&"a text") {
            true => words(message).help("texts are compared with texts; to put values into a text write `` `… ${value} …` ``"),
            false => words(message),
        };
    }
    let what = if given.is_empty() { "nothing".to_owned() } else { given.join(", ") };
    let message = format!("`{name}` was given {what}, which it does not take");
    match example(name) {
        Some(call) => words(message).help(format!("it is called as in `{call}`")),
        None => words(message),
    }
}

/// How a function of the reference is called.
pub fn example(name: &str) -> Option<&'static str> {
    let calls = ENTRIES.iter().flat_map(|entry| split_calls(entry.call));
    calls.into_iter().find(|call| {
        call.match_indices(name).any(|(at, _)| {
            let before = call[..at].chars().next_back();
            call[at + name.len()..].starts_with('(') && !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    })
}

/// `a.f(x, y), b.g()` as two.
fn split_calls(text: &'static str) -> Vec<&'static str> {
    let (mut calls, mut start, mut depth) = (Vec::new(), 0, 0i32);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            ',' if depth == 0 => {
                calls.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    calls.push(text[start..].trim());
    calls
}

/// A type of the engine in words.
pub(super) fn type_words(kind: &str) -> &'static str {
    match kind.trim() {
        "Series" => "a series",
        "Window" => "a window",
        "Reading" => "a reading",
        "Alert" => "an alert",
        "Claim" => "a claim",
        "Action" => "an action",
        "Proposal" => "a wish",
        "Selector" | "AlertSelector" => "a selector",
        "i64" | "f64" | "INT" | "FLOAT" => "a number",
        "bool" => "true or false",
        "()" => "nothing",
        "array" | "Array" => "an array",
        "map" | "Map" => "a map",
        "char" => "a character",
        kind if kind.to_lowercase().contains("str") => "a text",
        kind if kind.to_lowercase().contains("fn") => "a function",
        kind if kind.to_lowercase().contains("range") => "a range",
        kind if kind.contains("iter") => "an array",
        kind if kind.contains("bool") => "true or false",
        kind if kind.contains("int") || kind.contains("number") || kind.contains("float") => "a number",
        _ => "something else",
    }
}

/// The kinds of problems, by a part of their messages: stable names for tools.
const CODES: &[(&str, &str)] = &[
    ("there is no function", "unknown-function"),
    ("there is no variable", "unknown-variable"),
    ("has no key", "unknown-key"),
    ("which the policy does not have", "unknown-param"),
    ("the policy's own is a", "wrong-type"),
    ("which it does not take", "wrong-type"),
    ("means nothing between", "wrong-type"),
    ("expected text", "wrong-type"),
    ("is not a duration", "wrong-span"),
    ("expected at least", "wrong-span"),
    ("`autonomy` is", "unknown-autonomy"),
    ("nothing would ever run", "nothing-runs"),
    ("has no `for_each`", "nothing-runs"),
    ("there is no `fn policy()`", "no-policy"),
    ("does not say which alerts", "nothing-runs"),
    ("`for_each`:", "wrong-selector"),
    ("`on_alert`:", "wrong-selector"),
    ("`policy()` failed", "policy-map"),
    ("must give a map", "policy-map"),
];

impl PolicyError {
    /// A stable name for this kind of problem, in kebab case.
    pub fn code(&self) -> &'static str {
        CODES.iter().find(|(part, _)| self.message.contains(part)).map_or("syntax", |(_, code)| *code)
    }
}
