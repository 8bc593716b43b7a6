//! [`Proxy`]: an HTTP proxy that opens connections to other servers (CONNECT).

use std::net::IpAddr;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::{HttpError, Stream};
use crate::address::http_url::HttpUrl;

/// Port of a proxy whose URL has none, as for curl.
const PORT: u16 = 1080;

/// A proxy, and the hosts that are reached without it.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(super) name: ServerName<'static>,
    pub(super) port: u16,
    authorization: Option<HeaderValue>,
    except: Vec<String>,
}

impl Proxy {
    /// The proxy at `url` (`http://HOST:PORT`, or with `USER:PASSWORD@`), for all hosts but those of `no_proxy`: names, which
    /// stand for the names below too, addresses and subnets, separated by commas; `*` is every host.
    pub(crate) fn parse(url: &str, no_proxy: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"))?;
        let login = authority.as_str().rsplit_once('@').map(|(login, _)| login);
        let authorization = |login| HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(login)));
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Some(Self {
            name: ServerName::try_from(host.to_owned()).ok()?,
            port: authority.port_u16().unwrap_or(PORT),
            authorization: login.map(authorization).transpose().ok()?,
            except: no_proxy.split(',').map(|host| host.trim().to_ascii_lowercase()).collect(),
        })
    }

    /// False for hosts that are reached directly, and for this host.
    pub(super) fn is_for(&self, url: &HttpUrl) -> bool {
        let host = url.name.to_str().to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        let is_excepted = |except: &String| {
            let suffix = except.trim_start_matches('.');
            let below = || host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
            match address {
                _ if except == "*" => true,
                Some(address) => {
                    except.parse() == Ok(address)
                        || except.parse::<IpNet>().is_ok_and(|net| net.contains(&address))
                }
                None => !suffix.is_empty() && (host == suffix || below()),
            }
        };
        url.is_encrypted
            && !address.is_some_and(|address| address.is_loopback())
            && !self.except.iter().any(is_excepted)
    }

    /// Turns a connection to the proxy into one to the server of `url`.
    pub(super) async fn tunnel(
        &self,
        stream: TcpStream,
        url: &HttpUrl,
    ) -> Result<Box<dyn Stream>, HttpError> {
        let endpoint = url.endpoint();
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = endpoint.parse().map_err(std::io::Error::other)?;
        let host = HeaderValue::from_str(&endpoint).map_err(std::io::Error::other)?;
        request.headers_mut().insert(header::HOST, host);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await?;
        match response.status().as_u16() {
            200..300 => Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await?))),
            status => Err(HttpError::Proxy(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn excepted_hosts_are_reached_directly() {
        let no_proxy = "corp.example, .internal.example,10.0.0.0/8,192.0.2.7";
        for (host, is_proxied) in [
            ("policy.blob.core.windows.net", true),
            ("corp.example", false),
            ("a.CORP.example", false),
            ("notcorp.example", true),
            ("internal.example", false),
            ("10.1.2.3", false),
            ("11.1.2.3", true),
            ("192.0.2.7", false),
            ("127.0.0.1", false),
        ] {
            let url = HttpUrl::parse(&format!("https://{host}/x")).unwrap();
            assert_eq!(
                Proxy::parse("http://proxy:3128", no_proxy).unwrap().is_for(&url),
                is_proxied,
                "{host}"
            );
            assert!(!Proxy::parse("http://proxy:3128", "*").unwrap().is_for(&url));
        }
    }

    #[test]
    fn urls_of_proxies_are_read() {
        let proxy = Proxy::parse("http://user:pass@[::1]:3128/", "").unwrap();
        assert_eq!((proxy.port, proxy.authorization.unwrap()), (3128, "Basic dXNlcjpwYXNz".parse().unwrap()));
        assert_eq!(Proxy::parse("http://proxy", "").unwrap().port, PORT);
        for wrong in ["proxy:3128", "https://proxy:3128", "socks5://proxy", ""] {
            assert!(Proxy::parse(wrong, "").is_none(), "{wrong}");
        }
    }
}
