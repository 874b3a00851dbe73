//! TLS for clients and peers: valid certificates, and every kind of invalid one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use client::{Client, ClientOptions, Tls, Token};
use hyper::Method;
use native_node::config::TlsFiles;
use native_node::tls;
use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_tungstenite::client_async;

use crate::cluster::{CALM, Cluster, PATIENCE, REQUEST, eventually, program, run_to_end};
use crate::doors::{challenged, counted, hello, one_of_two};
use crate::http::{send, try_send};
use crate::tokens::{Pass, new_token};

/// Certificates for three servers, made by the `cert` command.
struct Certificates(TempDir);

impl Certificates {
    async fn new() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        it.make().await;
        it
    }

    /// Makes certificates, signed by the existing CA or a new one.
    async fn make(&self) {
        let members = [1, 2, 3].map(|id| format!("{id}=127.0.0.1:{id}/127.0.0.1:1{id}"));
        let mut command = program();
        command.args(["cert", "--cluster-id=test", "--out"]).arg(self.0.path());
        command.arg("--members").arg(members.join(","));
        let output = run_to_end(command).await;
        assert!(output.status.success(), "{output:?}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn of(&self, id: &str) -> TlsFiles {
        TlsFiles {
            cert: self.file(&format!("node-{id}.pem")),
            key: self.file(&format!("node-{id}-key.pem")),
            ca: self.file("ca.pem"),
        }
    }

    /// The flags that give each server of a cluster its own certificate.
    fn flags(&self, side: &str) -> [String; 3] {
        let TlsFiles { cert, key, ca } = self.of("{id}");
        [("cert", cert), ("key", key), ("ca", ca)]
            .map(|(what, path)| format!("--{side}-{what}={}", path.display()))
    }

    /// A certificate from the same CA with other properties.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
        let read = |name| std::fs::read_to_string(self.file(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
        let authority = Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let own = KeyPair::generate().unwrap();
        let odd = format!("odd-{}", std::fs::read_dir(self.0.path()).unwrap().count());
        let cert = params.signed_by(&own, &authority).unwrap();
        let files = TlsFiles {
            cert: self.file(&format!("{odd}.pem")),
            key: self.file(&format!("{odd}-key.pem")),
            ca: self.file("ca.pem"),
        };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, own.serialize_pem()).unwrap();
        files
    }
}

/// A client of one server that trusts this CA.
fn client(cluster: &Cluster, id: usize, ca: &Path, token: Option<&str>) -> Client {
    let mut options = ClientOptions::new(vec![cluster.address(id)], REQUEST);
    options.tls = Some(Tls::trusting(ca).unwrap());
    options.token = token.map(|token| Token::new(token).unwrap());
    Client::with(options)
}

/// Connects to a server's port for clients and returns its certificate.
async fn shown(cluster: &Cluster, ca: &Path) -> Result<Vec<u8>, std::io::Error> {
    let config = tls::client(tls::roots(ca).unwrap());
    let stream = TcpStream::connect(cluster.address(1).to_string()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

/// Guards container probes: they use TLS or not, according to the server's own settings.
#[tokio::test]
async fn probes_work_with_and_without_tls() {
    let certificates = Certificates::new().await;
    let encrypted = certificates.flags("tls");
    let encrypted: Vec<&str> =
        CALM.into_iter().chain(encrypted.iter().map(String::as_str)).collect();
    for (arguments, tls) in [(&encrypted[..], true), (&CALM[..], false)] {
        let mut cluster = Cluster::start_with(1, arguments);
        let probe = async |cluster: &Cluster, more: &[&str]| {
            let mut command = crate::cluster::program();
            command.arg("health").args(more);
            command.env("GLASSRAFT_CLIENT", format!("0.0.0.0:{}", cluster.address(1).port()));
            if tls {
                command.env("GLASSRAFT_TLS_CERT", certificates.of("1").cert);
            }
            crate::cluster::run_to_end(command).await.status.code()
        };
        crate::cluster::eventually("it is ready", async || {
            (probe(&cluster, &["--ready"]).await == Some(0)).then_some(())
        })
        .await;
        assert_eq!(probe(&cluster, &[]).await, Some(0));
        cluster.kill(1);
        assert_eq!(probe(&cluster, &[]).await, Some(3));
    }
}

/// Guards a cluster with TLS, tokens and a secret: it elects, replicates, forwards with the
/// client's token, and redirects to the leader by https.
#[tokio::test]
async fn a_cluster_with_every_lock_works() {
    let certificates = Certificates::new().await;
    let Pass { token, line } = new_token("write").await;
    for (file, text) in [("tokens", &*line), ("secret", "a secret of the test's servers")] {
        std::fs::write(certificates.file(file), text).unwrap();
    }
    let mut arguments = CALM.map(str::to_owned).to_vec();
    arguments.extend(certificates.flags("tls"));
    arguments.extend(certificates.flags("peer-tls"));
    arguments.push(format!("--tokens-file={}", certificates.file("tokens").display()));
    arguments.push(format!("--cluster-secret-file={}", certificates.file("secret").display()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(3, &arguments);
    let ca = certificates.file("ca.pem");
    let mut redirected = 0;
    for id in cluster.ids() {
        let client = client(&cluster, id, &ca, Some(&token));
        eventually("a write through any server", async || {
            client.put(b"k", Bytes::from_static(b"1")).await.ok()
        })
        .await;
        let status = client.status().await.unwrap();
        assert!(status.progress_from.is_some(), "{status:?}");
        assert!(status.peers.iter().all(|peer| peer.connected), "{status:?}");
        let asked = client.request(&Method::PUT, "/kv/k?redirect=true", Bytes::new()).await;
        if status.leader.unwrap().id != status.node.place.id {
            redirected += 1;
            let error = asked.expect_err("a redirect").to_string();
            assert!(error.contains("redirect") || error.contains("is the leader"), "{error}");
        }
    }
    assert_eq!(redirected, 2);

    // The command line uses the same token and CA, from files or the environment.
    std::fs::write(certificates.file("token"), token + "\n").unwrap();
    let run = async |arguments: &[&str], locked: bool| {
        let mut command = program();
        command.args(arguments).env("GLASSRAFT_CA", &ca);
        command.args(["--endpoints", &format!("https://{}", cluster.address(1))]);
        if !locked {
            command.arg("--token-file").arg(certificates.file("token"));
        }
        run_to_end(command).await
    };
    let put = run(&["put", "by", "hand"], false).await;
    assert!(put.status.success(), "{put:?}");
    assert_eq!(run(&["get", "by"], false).await.stdout, b"hand");
    let refused = run(&["get", "by"], true).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("unauthorized"), "{refused:?}");
    assert_eq!(refused.status.code(), Some(1));
}

/// Guards the two mix-ups: plain text on a TLS port gets no answer and does no harm. A TLS hello on
/// a plain port is refused as invalid.
#[tokio::test]
async fn plain_and_encrypted_do_not_mix() {
    let certificates = Certificates::new().await;
    let ca = certificates.file("ca.pem");
    let flags = certificates.flags("tls");
    let encrypted = Cluster::start_with(1, &flags.each_ref().map(String::as_str));
    let client = client(&encrypted, 1, &ca, None);
    eventually("it serves", async || client.status().await.ok()).await;
    assert!(try_send("GET", &encrypted.address(1), "/livez", &[], Bytes::new()).await.is_err());
    eventually("it is counted", async || {
        let metrics = client.request(&Method::GET, "/metrics", Bytes::new()).await.unwrap().body;
        let metrics = String::from_utf8(metrics.to_vec()).unwrap();
        metrics.contains("http_connections_refused_total{reason=\"tls\"} 1").then_some(())
    })
    .await;

    let plain = Cluster::start_with(1, &[]);
    eventually("it serves", async || plain.status(1).await).await;
    shown(&plain, &ca).await.expect_err("no TLS here");
    assert!(plain.status(1).await.is_some());
    assert_eq!(send("GET", &plain.address(1), "/livez", &[], "").await.status, 200);
}

/// Guards against a TLS handshake that never ends: it is cut.
#[tokio::test]
async fn an_unfinished_tls_handshake_is_cut() {
    let certificates = Certificates::new().await;
    let flags = certificates.flags("tls");
    let flags = flags.each_ref().map(String::as_str);
    let cluster = Cluster::start_with(1, &[&flags[..], &["--client-read-timeout=300ms"]].concat());
    let ca = certificates.file("ca.pem");
    let client = client(&cluster, 1, &ca, None);
    eventually("it serves", async || client.status().await.ok()).await;
    let mut stream = TcpStream::connect(cluster.address(1).to_string()).await.unwrap();
    // The first bytes of a record that never completes.
    stream.write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("it is cut");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// Guards rotation: new certificates take effect without a restart, and unusable files change
/// nothing but the log.
#[tokio::test]
async fn certificates_are_read_anew_on_sighup() {
    let certificates = Certificates::new().await;
    let flags = certificates.flags("tls");
    let cluster = Cluster::start_with(1, &flags.each_ref().map(String::as_str));
    let ca = certificates.file("ca.pem");
    let first = eventually("it serves", async || shown(&cluster, &ca).await.ok()).await;
    certificates.make().await;
    cluster.signal(1, Signal::HUP);
    eventually("the new one is shown", async || {
        (shown(&cluster, &ca).await.unwrap() != first).then_some(())
    })
    .await;
    let second = shown(&cluster, &ca).await.unwrap();

    std::fs::write(certificates.of("1").key, "no key").unwrap();
    cluster.signal(1, Signal::HUP);
    eventually("the log says why", async || {
        let log = std::fs::read_to_string(cluster.log(1)).unwrap();
        (log.contains("node-1-key.pem") && log.contains("no private key")).then_some(())
    })
    .await;
    assert_eq!(shown(&cluster, &ca).await.unwrap(), second);
}

/// Sends a hello to server 1 with these files. Returns the reason of a refusal.
async fn knock(cluster: &Cluster, files: &TlsFiles) -> Result<(), String> {
    let mut config = tls::client(tls::roots(&files.ca).unwrap());
    let chain = CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    config.client_auth_cert_resolver =
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    knock_with(cluster, config).await
}

async fn knock_with(cluster: &Cluster, config: ClientConfig) -> Result<(), String> {
    let address = cluster.peer_address(1).to_string();
    let stream = TcpStream::connect(&address).await.unwrap();
    let name = ServerName::try_from("node-1.test").unwrap();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|error| text(&error))?;
    let socket = client_async(format!("ws://{address}/raft"), stream).await;
    let mut socket = socket.map_err(|error| text(&error))?.0;
    challenged(&mut socket, hello().encode()).await.map(drop)
}

/// Guards the port for peers: it requires a certificate from the cluster's CA that is valid now and
/// names the server that presents it.
#[tokio::test]
async fn only_a_server_with_its_own_certificate_comes_in() {
    let certificates = Certificates::new().await;
    let flags = certificates.flags("peer-tls");
    let cluster = one_of_two(&flags.each_ref().map(String::as_str)).await;
    let own = certificates.of("2");
    knock(&cluster, &own).await.expect("by the rules");

    let plain = TcpStream::connect(cluster.peer_address(1).to_string()).await.unwrap();
    let url = format!("ws://{}/raft", cluster.peer_address(1));
    assert!(client_async(url, plain).await.is_err(), "let in without TLS");
    counted(&cluster, "tls").await;
    let nobody = tls::client(tls::roots(&own.ca).unwrap());
    knock_with(&cluster, nobody).await.expect_err("no certificate");

    let other = Certificates::new().await;
    let foreign = TlsFiles { ca: own.ca.clone(), ..other.of("2") };
    let expired = certificates.sign("node-2.test", |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
        params.not_before = date_time_ymd(2019, 1, 1);
    });
    let early = certificates.sign("node-2.test", |params| {
        params.not_before = date_time_ymd(2120, 1, 1);
        params.not_after = date_time_ymd(2121, 1, 1);
    });
    for files in [foreign, expired, early] {
        let error = knock(&cluster, &files).await.expect_err("let in");
        assert!(error.contains("fatal alert"), "{files:?}: {error}");
    }
    let thief = certificates.of("3");
    assert_eq!(knock(&cluster, &thief).await, Err("certificate".to_owned()), "3 as 2");
    let elsewhere = certificates.sign("node-2.other", |_| ());
    assert_eq!(knock(&cluster, &elsewhere).await, Err("certificate".to_owned()));
    knock(&cluster, &own).await.expect("by the rules, still");
}

/// Guards rotation between servers: once the new CA is loaded, certificates of the old CA are
/// refused.
#[tokio::test]
async fn servers_change_their_authority_without_a_restart() {
    let (old, new) = (Certificates::new().await, Certificates::new().await);
    let flags = old.flags("peer-tls");
    let cluster = one_of_two(&flags.each_ref().map(String::as_str)).await;
    let copy = |from: &Certificates, name: &str| std::fs::copy(from.file(name), old.file(name));
    let before = TlsFiles { ca: new.file("ca.pem"), ..old.sign("node-2.test", |_| ()) };
    for name in ["ca.pem", "node-1.pem", "node-1-key.pem"] {
        copy(&new, name).unwrap();
    }
    cluster.signal(1, Signal::HUP);
    eventually("the new authority's certificate opens", async || {
        knock(&cluster, &new.of("2")).await.ok()
    })
    .await;
    knock(&cluster, &before).await.expect_err("the old authority's");
}

/// Guards the start: a server with an unsuitable certificate does not start, and says why.
#[tokio::test]
async fn certificates_that_do_not_fit_are_refused_at_the_start() {
    let certificates = Certificates::new().await;
    let ca = certificates.file("ca.pem");
    let own = certificates.of("1");
    let other = certificates.of("2");
    let missing = certificates.file("none.pem");
    let start = async |side: &str, cert: &Path, key: &Path, ca: &Path| {
        let flags = [("cert", cert), ("key", key), ("ca", ca)]
            .map(|(what, path)| format!("--{side}-{what}={}", path.display()));
        let cluster = Cluster::prepare(1, &flags.each_ref().map(String::as_str));
        let output = run_to_end(cluster.command(1)).await;
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let error = start("peer-tls", &other.cert, &other.key, &ca).await;
    assert!(error.contains("node-1.test"), "{error}");
    let error = start("tls", &own.cert, &other.key, &ca).await;
    assert!(error.contains("node-1.pem"), "{error}");
    let error = start("tls", &own.cert, &own.key, &missing).await;
    assert!(error.contains("none.pem"), "{error}");
    let error = start("tls", &own.key, &own.key, &ca).await;
    assert!(error.contains("no certificate"), "{error}");
}
