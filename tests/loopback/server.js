// A LoopBack with the models of Xerts, its data in memory: node server.js VERSION [closed]
//
// VERSION is 2 or 3. `closed` keeps LoopBack's own calls for a site from everybody. Prints one line of JSON when
// it listens: its URL, and the ids of what is there from the start. Below /tests the tests see what was asked
// for and what the models hold, and put a coupon into a device's hands.
'use strict';

const [version, ...words] = process.argv.slice(2);
const loopback = require(`loopback-${version}`);
const attach = require('./models');

const KEY = 'loopback-key';
const EMAIL = 'owner@example.org';
const PASSWORD = 'loopback-password';

const app = loopback({localRegistry: true, loadBuiltinModels: true});
app.set('logoutSessionsOnSensitiveChanges', true);
app.dataSource('memory', {connector: 'memory'});
app.enableAuth({dataSource: 'memory'});
const models = attach(app, 'memory', {sitesAreOpen: !words.includes('closed')});

const calls = [];
let coupons = 0;

app.use('/tests/calls', (request, response) => response.json(calls));
app.use('/tests/models', async (request, response) => {
  const held = {};
  for (const name of ['Device', 'Coupon', 'SiteOffer', 'Site', 'Member', 'Vendor', 'Offer']) {
    held[name] = await models[name].find();
  }
  response.json(held);
});
app.use('/tests/coupon', async (request, response) => {
  const {device, expired} = request.query;
  const {site, offer} = await newCampaign(`Offer ${++coupons}`);
  const [coupon] = await models.SiteOffer.issue(site, device);
  if (expired) await models.Coupon.updateAll({id: coupon.id}, {expiresOn: new Date(Date.now() - 86400000)});
  response.json({title: offer.title, code: coupon.redeemCode});
});

app.use('/api', (request, response, next) => {
  const {method, originalUrl, headers} = request;
  const call = {method, path: originalUrl, headers};
  calls.push(call);
  response.on('finish', () => { call.status = response.statusCode; });
  if (headers['api-key'] === KEY) return next();
  next(Object.assign(new Error('Authorization Required'), {status: 401, statusCode: 401}));
});
app.use(loopback.token({model: app.models.AccessToken}));
app.use('/api', loopback.rest());
app.use(loopback.urlNotFound());
app.use(version === '2' ? loopback.errorHandler() : require('strong-error-handler')({log: false}));

async function newCampaign(title, vendorId) {
  const {Site, Offer, SiteOffer} = models;
  const site = await Site.create({title: `Site of ${title}`, gps: {lat: 55.7766, lng: 37.6555}, vendorId});
  const offer = await Offer.create({
    title, description: 'While stocks last', styleBorderColor: 'green', styleBackgroundColor: 'white',
    featureImage: 'https://example.org/pie.png', vendorId,
  });
  await SiteOffer.create({
    instanceCost: 0.12, instanceLimit: 1000, instanceIssues: 0, totalCost: 120, couponExpiresAfterDays: 7,
    offerId: offer.id, siteId: site.id,
  });
  return {site: site.id, offer};
}

async function populate() {
  const {Member, Vendor} = models;
  const member = await Member.create({email: EMAIL, password: PASSWORD, vendorOwner: true, siteOwner: true});
  const vendor = await Vendor.create({
    vendorName: 'Bakery', headOfficeAddress1: '1 Flour Street', headOfficeZipcode: '101000',
    headOfficeCity: 'Moscow', headOfficeCountry: 'Russia', description: 'Bread', ownerId: member.id,
  });
  const {site, offer} = await newCampaign('Pie of the day', vendor.id);
  return {member: member.id, vendor: vendor.id, site, offer: offer.id};
}

populate().then(made => {
  const server = app.listen(0, '127.0.0.1', () => {
    const url = `http://127.0.0.1:${server.address().port}`;
    console.log(JSON.stringify({url, key: KEY, email: EMAIL, password: PASSWORD, ...made}));
  });
}).catch(error => {
  console.error(error);
  process.exit(1);
});
process.stdin.resume().on('end', () => process.exit(0)); // whoever started it is gone
