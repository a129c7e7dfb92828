//! Real answers of the corpus through the same doors.

use super::far_end::{FarEnd, corpus, question};
use super::{KEY, built, yes};
use homeostat_model::{Question, ReasonFaultClass, TokenUsage};
use serde_json::{Value, json};

fn load(dir: &std::path::Path, file: &str) -> Value {
    let text = std::fs::read_to_string(dir.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap()
}

fn schema(properties: Value) -> String {
    let names: Vec<&String> = properties.as_object().unwrap().keys().collect();
    json!({ "type": "object", "additionalProperties": false, "required": names, "properties": properties }).to_string()
}

#[tokio::test]
async fn ollamas_own_examples() {
    let Some(dir) = corpus("acting/ollama") else { return };
    let config = |far: &FarEnd| json!({ "kind": "ollama", "id": "r", "url": far.url, "model": "llama3.1" });
    let structured = load(&dir, "chat-structured.json");
    let far = FarEnd::script(vec![yes(structured["response"].clone())]).await;
    let asked = Question { schema: schema(json!({ "age": { "type": "integer" }, "available": { "type": "boolean" } })), ..question() };
    let answer = built(config(&far)).complete(&asked).await.unwrap();
    assert_eq!((answer.json.as_str(), answer.model.as_str()), (r#"{"age":22,"available":false}"#, "llama3.1"));
    assert_eq!(answer.usage, TokenUsage { input_tokens: 34, output_tokens: 12, estimated: false });
    let sent = far.seen()[0].json();
    let shape = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(shape(&structured["request"]).iter().all(|name| shape(&sent).contains(name)), "{sent}");
    for (file, class) in [
        ("chat-tools.json", ReasonFaultClass::Malformed),
        ("chat-unload.json", ReasonFaultClass::Malformed),
        ("chat-nostream.json", ReasonFaultClass::Malformed),
    ] {
        let far = FarEnd::script(vec![yes(load(&dir, file)["response"].clone())]).await;
        assert_eq!(built(config(&far)).complete(&asked).await.unwrap_err().class, class, "{file}");
    }
    let stream = std::fs::read_to_string(dir.join("stream-error.ndjson")).unwrap();
    let far = FarEnd::script(vec![(200, Vec::new(), stream)]).await;
    let fault = built(config(&far)).complete(&asked).await.unwrap_err();
    assert!(fault.class.name() == "overloaded" && fault.text.contains("an error was encountered while running the model"), "{fault}");
}

#[tokio::test]
async fn openais_own_examples() {
    let Some(dir) = corpus("acting/openai") else { return };
    for (file, api) in [("examples_chat_completions.json", "chat_completions"), ("examples_responses.json", "responses")] {
        let mut answered = 0;
        for (name, example) in load(&dir, file).as_object().unwrap() {
            // Their examples are prose: they are read as such, and then no JSON of the shape.
            let Some(text) = example["response"].as_str().filter(|text| serde_json::from_str::<Value>(text).is_ok()) else { continue };
            let far = FarEnd::script(vec![(200, Vec::new(), text.to_owned())]).await;
            let config = json!({ "kind": "openai", "api": api, "id": "r", "url": far.url, "model": "m", "api_key": KEY });
            let fault = built(config).complete(&question()).await.unwrap_err();
            assert_eq!(fault.class, ReasonFaultClass::Malformed, "{file} {name}: {fault}");
            assert!(!fault.usage.estimated && fault.usage.input_tokens > 0, "{file} {name}: {fault:?}");
            answered += 1;
        }
        assert!(answered > 1, "{file}: the examples were found");
    }
}

#[tokio::test]
async fn the_samples_of_the_others() {
    let Some(dir) = corpus("acting") else { return };
    let text = || json!({ "type": "string" });
    let samples = load(&dir, "anthropic/samples-synthetic.json");
    let action = samples["structured_request"]["output_config"]["format"]["schema"].to_string();
    let asked = Question { schema: action, ..question() };
    let config = |far: &FarEnd| json!({ "kind": "anthropic", "id": "r", "url": far.url, "model": "claude-haiku-5-5", "api_key": KEY, "effort": "low", "cache": "1h" });
    let far = FarEnd::script(vec![yes(samples["text_response"].clone())]).await;
    let answer = built(config(&far)).complete(&asked).await.unwrap();
    assert_eq!((answer.usage.input_tokens, answer.request_id.as_deref()), (120, Some("msg_02")));
    let (sent, documented) = (far.seen()[0].json(), &samples["structured_request"]);
    for same in ["/output_config", "/model", "/max_tokens", "/system/0/cache_control", "/system/0/type", "/messages/0/role"] {
        assert_eq!(sent.pointer(same), documented.pointer(same), "{same}");
    }
    assert_eq!(sent.as_object().unwrap().keys().collect::<Vec<_>>(), documented.as_object().unwrap().keys().collect::<Vec<_>>());
    assert_eq!(far.seen()[0].header("anthropic-version"), samples["headers"]["anthropic-version"]);
    for (sample, class) in [("refusal_response", "refused"), ("tool_response", "malformed")] {
        let far = FarEnd::script(vec![yes(samples[sample].clone())]).await;
        assert_eq!(built(config(&far)).complete(&asked).await.unwrap_err().class.name(), class, "{sample}");
    }
    for (sample, status, class) in
        [("error_429", 429, "rate_limited"), ("error_529", 529, "overloaded"), ("error_400_temperature", 400, "bad_request")]
    {
        let headers = vec![("retry-after", samples[sample]["headers"]["retry-after"].as_str().unwrap_or("200").to_owned())];
        let far = FarEnd::script(vec![(status, headers, samples[sample]["body"].to_string())]).await;
        let fault =
            built(config(&far)).complete(&Question { timeout: homeostat_model::Span::from_secs(5), ..asked.clone() }).await.unwrap_err();
        assert_eq!((fault.class.name(), fault.requests), (class, 1), "{sample}");
    }
    let samples = load(&dir, "perplexity/samples-synthetic.json");
    let far = FarEnd::script(vec![yes(samples["response"].clone())]).await;
    let config = json!({ "kind": "perplexity", "id": "r", "url": far.url, "model": "sonar-pro", "api_key": KEY,
        "domains": ["nvd.nist.gov"], "recency": "month", "context": "low" });
    let asked = Question { schema: schema(json!({ "answer": text() })), ..question() };
    let answer = built(config).complete(&asked).await.unwrap();
    assert_eq!((answer.cost_euros, answer.citations.len()), (Some(0.00633), 1));
    let (sent, documented) = (far.seen()[0].json(), &samples["request"]);
    for same in ["/search_recency_filter", "/search_domain_filter", "/web_search_options", "/response_format/type", "/model"] {
        assert_eq!(sent.pointer(same), documented.pointer(same), "{same}");
    }
    let samples = load(&dir, "langflow/samples.json");
    let body = with_text(samples["response"].clone(), samples["text_pointer"].as_str().unwrap(), r#"{"answer":"x"}"#);
    let far = FarEnd::script(vec![yes(body), yes(samples["response"].clone())]).await;
    let reasoner = built(json!({ "kind": "langflow", "id": "r", "url": far.url, "flow": "f", "place": "local" }));
    let answer = reasoner.complete(&asked).await.unwrap();
    assert!(answer.json == r#"{"answer":"x"}"# && answer.usage.estimated, "no usage is told: the bound counts");
    assert_eq!(reasoner.complete(&asked).await.unwrap_err().class, ReasonFaultClass::Malformed);
    let sent: Vec<String> = far.seen()[0].json().as_object().unwrap().keys().cloned().collect();
    assert!(sent.iter().all(|name| samples["request"]["body"].get(name).is_some()), "{sent:?}");
}

fn with_text(mut body: Value, pointer: &str, text: &str) -> Value {
    *body.pointer_mut(pointer).unwrap() = json!(text);
    body
}
