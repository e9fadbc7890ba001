// A certified OpenID provider (npm oidc-provider) with one client and two people, for the desk's tests.
//
// node provider.mjs REDIRECT_URI SECRET    prints its issuer once it listens
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirect, secret] = process.argv.slice(2);
const people = {
  eva: { sub: 'eva', name: 'Eva Muster', groups: ['staff', 'hip-audit'] },
  max: { sub: 'max', name: 'Max Muster', groups: ['staff'] },
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'hipnode', client_secret: secret, redirect_uris: [redirect] }],
    claims: { openid: ['sub'], profile: ['name', 'groups'] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true } },
    findAccount: (_, id) => people[id] && ({ accountId: id, claims: () => people[id] }),
    conformIdTokenClaims: process.env.IN_USERINFO !== undefined,
    cookies: { keys: ['only for tests'] },
  });
  provider.on('server_error', (_, error) => console.error(error));
  server.on('request', provider.callback());
  console.log(`issuer ${issuer}`);
});
