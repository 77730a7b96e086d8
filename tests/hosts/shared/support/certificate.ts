// Self-signed certificates for tests, made by the command `openssl`.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** @param names such as `DNS:localhost,IP:127.0.0.1` */
export function makeCertificate(folder: string, names: string): CertificateFiles {
  const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const subject = ["-subj", "/CN=localhost", "-addext", `subjectAltName=${names}`];
  execFileSync(
    "openssl",
    ["req", "-x509", ...key, ...subject, "-keyout", keyFile, "-out", certFile],
    { stdio: "ignore" },
  );
  return { certFile, keyFile };
}

/**
 * Replaces a certificate by one for localhost that has expired.
 * @returns the file with the certificate of its authority
 */
export function expire(folder: string, { certFile, keyFile }: CertificateFiles): string {
  const authority = join(folder, "authority");
  mkdirSync(authority);
  const signer = makeCertificate(authority, "DNS:authority");
  const [config, request] = [join(authority, "ca.cnf"), join(authority, "request.pem")];
  writeFileSync(join(authority, "index"), "");
  writeFileSync(
    config,
    `[ca]\ndefault_ca=it\n[it]\ndatabase=${authority}/index\nnew_certs_dir=${authority}\n` +
      "rand_serial=yes\ndefault_md=sha256\npolicy=any\nx509_extensions=names\n" +
      "[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:localhost\n",
  );
  const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "ignore" });
  openssl("x509", "-x509toreq", "-in", certFile, "-signkey", keyFile, "-out", request);
  const dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
  const by = ["-config", config, "-cert", signer.certFile, "-keyfile", signer.keyFile];
  openssl("ca", "-batch", "-notext", ...by, ...dates, ...["-in", request, "-out", certFile]);
  return signer.certFile;
}
