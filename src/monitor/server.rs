//! Who may ask for what: the addresses that are answered, the page's files, the headers of every answer, and the stream of news.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};

use super::answers::{self, CurveQuery, PictureQuery, StageQuery};
use super::watch::Watch;

/// Least time between two pieces of news.
const NEWS_EVERY: Duration = Duration::from_secs(1);

/// The page's files: address, type and text.
const PAGE: [(&str, &str, &str); 12] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/main.js", "text/javascript; charset=utf-8", include_str!("page/main.js")),
    ("/chart.js", "text/javascript; charset=utf-8", include_str!("page/chart.js")),
    ("/scale.js", "text/javascript; charset=utf-8", include_str!("page/scale.js")),
    ("/touch.js", "text/javascript; charset=utf-8", include_str!("page/touch.js")),
    ("/runs.js", "text/javascript; charset=utf-8", include_str!("page/runs.js")),
    ("/recipes.js", "text/javascript; charset=utf-8", include_str!("page/recipes.js")),
    ("/pictures.js", "text/javascript; charset=utf-8", include_str!("page/pictures.js")),
    ("/export.js", "text/javascript; charset=utf-8", include_str!("page/export.js")),
    ("/uplot.js", "text/javascript; charset=utf-8", include_str!("page/uplot/uplot.min.js")),
    ("/uplot.css", "text/css; charset=utf-8", include_str!("page/uplot/uplot.min.css")),
];

/// What every answer says to the browser: nothing is loaded from elsewhere, no other page may hold this one or what it shows.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// What requests are answered from.
#[derive(Debug, Clone)]
struct Served {
    watch: Arc<RwLock<Watch>>,
    news: tokio::sync::watch::Receiver<u64>,
}

impl Served {
    fn read(&self) -> RwLockReadGuard<'_, Watch> {
        self.watch.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers on a thread that may take its time.
    async fn answer<T: Send + 'static>(self, f: impl FnOnce(&Watch) -> T + Send + 'static) -> Result<T, StatusCode> {
        let answer = tokio::task::spawn_blocking(move || f(&self.read()));
        answer.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The monitor's addresses, for a server at `address`.
pub(super) fn router(
    watch: Arc<RwLock<Watch>>,
    news: tokio::sync::watch::Receiver<u64>,
    address: SocketAddr,
) -> Router {
    let mut router = Router::new();
    for (path, kind, text) in PAGE {
        router = router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], text) }));
    }
    router
        .route("/api/news", get(follow))
        .route("/api/curves", get(curves))
        .route("/api/curves.csv", get(table))
        .route("/api/recipes", get(recipes))
        .route("/api/pictures", get(pictures))
        .route("/api/picture", get(picture))
        .with_state(Served { watch, news })
        .layer(middleware::from_fn_with_state(address, guard))
}

/// Refuses requests that were sent to another name: the page of a stranger, whose name was made to mean this machine, could read
/// everything otherwise. Adds the headers.
async fn guard(State(address): State<SocketAddr>, request: Request, next: Next) -> Response {
    let mut response = if is_ours(request.headers(), address.ip()) {
        next.run(request).await
    } else {
        let text = "This monitor answers only as localhost, 127.0.0.1 or [::1], or by the address that --host names.\n";
        (StatusCode::FORBIDDEN, text).into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the header `Host` names this machine: `localhost`, or an address. Of addresses only those of the machine itself, unless
/// the monitor listens to others.
fn is_ours(headers: &HeaderMap, listens: IpAddr) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            if port.parse::<u16>().is_err() {
                return false;
            }
            name
        }
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || !listens.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Sends the summary of all runs at once, and again whenever something has changed.
async fn follow(State(served): State<Served>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = stream::unfold((served, false), |(mut served, begun)| async move {
        if begun {
            tokio::time::sleep(NEWS_EVERY).await;
            served.news.changed().await.ok()?;
        } else {
            served.news.mark_unchanged();
        }
        let text = serde_json::to_string(&served.read().summary()).ok()?;
        Some((Ok(Event::default().data(text)), (served, true)))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn curves(State(served): State<Served>, Query(query): Query<CurveQuery>) -> Result<Response, StatusCode> {
    served.answer(move |watch| json(&answers::curves(watch, &query))).await
}

async fn table(State(served): State<Served>, Query(query): Query<CurveQuery>) -> Result<Response, StatusCode> {
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, "attachment")];
    let text = served.answer(move |watch| answers::table(watch, &query)).await?;
    Ok((headers, text.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?).into_response())
}

async fn recipes(State(served): State<Served>, Query(query): Query<StageQuery>) -> Result<Response, StatusCode> {
    served.answer(move |watch| json(&answers::recipes(watch, &query))).await
}

async fn pictures(State(served): State<Served>, Query(query): Query<StageQuery>) -> Result<Response, StatusCode> {
    served.answer(move |watch| json(&answers::pictures(watch, &query))).await
}

async fn picture(State(served): State<Served>, Query(query): Query<PictureQuery>) -> Result<Response, StatusCode> {
    let (kind, bytes) =
        served.answer(move |watch| answers::picture(watch, &query)).await?.ok_or(StatusCode::NOT_FOUND)?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_names_are_answered() {
        let [local, open] = ["127.0.0.1", "0.0.0.0"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let asked = |host: &str, listens| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            is_ours(&headers, listens)
        };
        for host in ["localhost", "LOCALHOST:7007", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:7007", "127.8.8.8"] {
            assert!(asked(host, local), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:x",
            "localhost:7:7",
            "a@localhost",
            "[::1",
            "192.168.1.2",
            "0.0.0.0",
        ] {
            assert!(!asked(host, local), "{host}");
        }
        assert!(asked("192.168.1.2:7007", open) && !asked("evil.example", open));
        assert!(!is_ours(&HeaderMap::new(), local));
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, HeaderValue::from_static("localhost"));
        twice.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_ours(&twice, local));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        for (path, _, text) in PAGE.iter().filter(|(path, ..)| !path.starts_with("/uplot")) {
            for outside in ["http:", "https:", "url(", "@import", "innerHTML", "eval("] {
                // SVG files name their format by an address that nobody loads, and parts of themselves.
                let text = text.replace("http://www.w3.org/2000/svg", "").replace("url(#plot)", "");
                assert!(!text.contains(outside), "{path}: {outside}");
            }
        }
    }
}
