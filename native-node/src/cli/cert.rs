//! `glassraft cert`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use api::members::{Member, Members};
use clap::Args;
use raft_core::types::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::output::line;
use crate::tls::peer_name;

/// The lifetime of the certificate authority, in days. To renew it, create a new authority and
/// trust both.
const AUTHORITY_DAYS: u32 = 3650;

/// Create a certificate authority and a certificate for each server.
///
/// Use it for tests, and for clusters without their own certificate authority. Anybody who has
/// ca-key.pem can create certificates: do not copy it to the servers. A second run with the same
/// directory uses the existing authority, to renew certificates or to add servers.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft cert --out certs --cluster-id mine \\
    --members 1=10.0.0.1:8001/10.0.0.1:7001,2=10.0.0.2:8001/10.0.0.2:7001,3=10.0.0.3:8001/10.0.0.3:7001
  glassraft serve … --tls-cert certs/node-1.pem --tls-key certs/node-1-key.pem --tls-ca certs/ca.pem \\
    --peer-tls-cert certs/node-1.pem --peer-tls-key certs/node-1-key.pem --peer-tls-ca certs/ca.pem")]
pub(super) struct CertArgs {
    /// The directory for the files: ca.pem, ca-key.pem, and node-N.pem and node-N-key.pem of each
    /// server
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The cluster's name; the certificate of server N has the DNS name `node-N.NAME`
    #[arg(long, env = "GLASSRAFT_CLUSTER_ID", value_name = "NAME")]
    cluster_id: String,
    /// The servers; a certificate is valid for the hosts of both addresses and for this machine
    #[arg(long, env = "GLASSRAFT_MEMBERS", value_name = "LIST")]
    members: Members,
    /// The lifetime of the servers' certificates, in days
    #[arg(long, value_name = "N", default_value_t = 365)]
    days: u32,
}

/// Creates the files.
pub(super) fn run(arguments: CertArgs) -> Result<()> {
    let CertArgs { out, cluster_id, members, days } = arguments;
    std::fs::create_dir_all(&out)
        .with_context(|| format!("cannot create the directory {}", out.display()))?;
    let mut made = Vec::new();
    let authority = authority(&out, &cluster_id, &mut made)?;
    for (id, member) in members.iter() {
        let key = KeyPair::generate()?;
        let params = server(id, &cluster_id, member, days)
            .with_context(|| format!("cannot create a certificate for server {}", id.0))?;
        let certificate = params.signed_by(&key, &authority)?;
        let name = |what| out.join(format!("node-{}{what}.pem", id.0));
        write(&name("-key"), &key.serialize_pem(), 0o600)?;
        write(&name(""), &certificate.pem(), 0o644)?;
        made.push(format!("{}  {}", name("").display(), peer_name(id, &cluster_id)));
    }
    line(&made.join("\n"))
}

/// Reads the authority from the directory, or creates it and adds a line to `made`.
fn authority(
    out: &Path,
    cluster_id: &str,
    made: &mut Vec<String>,
) -> Result<Issuer<'static, KeyPair>> {
    let (cert, key) = (out.join("ca.pem"), out.join("ca-key.pem"));
    if cert.exists() {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let cannot = || format!("{} contains no usable certificate authority", out.display());
        let key = KeyPair::from_pem(&read(&key)?).with_context(cannot)?;
        return Issuer::from_ca_cert_pem(&read(&cert)?, key).with_context(cannot);
    }
    let own = KeyPair::generate()?;
    let mut params = named(&format!("{cluster_id} authority"), Vec::new(), AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    write(&key, &own.serialize_pem(), 0o600)?;
    write(&cert, &params.self_signed(&own)?.pem(), 0o644)?;
    let (cert, key) = (cert.display(), key.display());
    made.push(format!("{cert}  a new authority; do not copy {key} to the servers"));
    Ok(Issuer::new(params, own))
}

fn server(id: NodeId, cluster_id: &str, member: &Member, days: u32) -> Result<CertificateParams> {
    let mut names = vec![peer_name(id, cluster_id)];
    for address in [&member.peer, &member.client] {
        names.push(address.host().trim_matches(['[', ']']).to_owned());
    }
    names.extend(["localhost", "127.0.0.1", "::1"].map(ToOwned::to_owned));
    names.sort();
    names.dedup();
    let mut params = named(&peer_name(id, cluster_id), names, days)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str, hosts: Vec<String>, days: u32) -> Result<CertificateParams> {
    const DAY: Duration = Duration::from_hours(24);
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let epoch = date_time_ymd(1970, 1, 1);
    // The clocks of other machines may be behind.
    params.not_before = epoch + today.saturating_sub(DAY);
    params.not_after = epoch + today + DAY * days;
    Ok(params)
}

/// Writes a file atomically with these permissions; keys are readable by their owner only.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let new = path.with_extension("pem.new");
    let written = (|| {
        drop(std::fs::remove_file(&new));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}
