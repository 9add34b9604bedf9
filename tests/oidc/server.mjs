// An OpenID provider for tests/oidc.rs: node's oidc-provider, with accounts in place of passwords. Each start has another key for signatures.
//   node server.mjs PATH-OF-OIDC-PROVIDER JSON
// JSON: issuer, port, redirect; accounts (by name, their claims); also in_id_token, certificate and key (PEM files: it speaks TLS).
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const { Provider } = await import(process.argv[2]);
const asked = JSON.parse(process.argv[3]);

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), use: 'sig', alg: 'RS256' };
const client = (id, more) => ({ client_id: id, redirect_uris: [asked.redirect], ...more });

const provider = new Provider(asked.issuer, {
  jwks: { keys: [key] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  clients: [
    client('mail:relay one', { client_secret: 's+c r%t&' }),
    client('public', { token_endpoint_auth_method: 'none' }),
  ],
  claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: !asked.in_id_token,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/enter/${interaction.uid}` },
  findAccount: (_, id) => asked.accounts[id] && { accountId: id, claims: () => ({ sub: id, ...asked.accounts[id] }) },
  // Nobody is asked for consent.
  loadExistingGrant: async (ctx) => {
    const known = ctx.oidc.session.grantIdFor(ctx.oidc.client.clientId);
    if (known) return ctx.oidc.provider.Grant.find(known);
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email groups');
    await grant.save();
    return grant;
  },
});

const form = `<!doctype html><html lang="en"><head><title>Provider</title><link rel="icon" href="data:,"></head><body><main><h1>Who are you?</h1>
<form method="post"><label for="account">Account</label> <input id="account" name="account"> <button>Go on</button>
<button name="no" value="1">No</button></form></main></body></html>`;

async function enter(request, response) {
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html');
    return response.end(form);
  }
  let body = '';
  for await (const part of request) body += part;
  const fields = new URLSearchParams(body);
  const refused = { error: 'access_denied', error_description: 'the person said <b>no</b>' };
  await provider.interactionFinished(request, response, fields.has('no') ? refused : { login: { accountId: fields.get('account') } });
}

const serve = (request, response) => {
  if (!request.url.startsWith('/enter/')) return provider.callback()(request, response);
  enter(request, response).catch((error) => { response.statusCode = 400; response.end(String(error)); });
};
const server = asked.certificate
  ? https.createServer({ cert: readFileSync(asked.certificate), key: readFileSync(asked.key) }, serve)
  : http.createServer(serve);
server.listen(asked.port, '127.0.0.1');
