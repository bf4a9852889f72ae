use reqwest::{Client, Method};
use serde_json::{Value, json};

/// RabbitMQ's management API: what an operator does, or somebody who breaks things.
#[derive(Debug)]
pub struct Management {
    client: Client,
    url: String,
    vhost: String,
}

impl Management {
    pub(super) fn new(url: &str, vhost: &str) -> Self {
        Self { client: Client::new(), url: url.to_owned(), vhost: vhost.to_owned() }
    }

    /// Calls it; `{vhost}` in the path stands for the virtual host.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let path = path.replace("{vhost}", &self.vhost);
        let request = self.client.request(method, format!("{}api/{path}", self.url));
        let mut request = request.basic_auth("guest", Some("guest"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|e| panic!("{path}: {e}"));
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&bytes));
        // Answers to changes are empty.
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    }

    /// What it says.
    pub async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await
    }

    /// Takes at most this many messages off a queue.
    ///
    /// # Panics
    /// When there is no such queue.
    pub async fn take(&self, queue: &str, count: usize) -> Vec<Value> {
        let body = json!({ "count": count, "ackmode": "ack_requeue_false", "encoding": "auto" });
        let path = format!("queues/{{vhost}}/{queue}/get");
        let taken = self.call(Method::POST, &path, Some(body)).await;
        taken.as_array().cloned().unwrap_or_default()
    }

    /// Makes something.
    pub async fn put(&self, path: &str, body: Value) {
        self.call(Method::PUT, path, Some(body)).await;
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) {
        self.call(Method::DELETE, path, None).await;
    }
}
