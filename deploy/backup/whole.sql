-- Every message is what its digest says: base64url, unpadded, of SHA-256 of the compact JWS. Says nothing if all is well.
SELECT 'broken ' || originator || ':' || id FROM messages
 WHERE digest <> rtrim(translate(encode(sha256(convert_to(jws, 'UTF8')), 'base64'), '+/', '-_'), '=');
