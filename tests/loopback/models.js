// The models of Xerts as its reference describes them, on whatever LoopBack is given. What the reference does
// not say is left as LoopBack makes it: devices, members, vendors, sites and offers have its own REST calls.
'use strict';

const crypto = require('crypto');

const text = {type: 'string', required: true};
const id = () => ({type: 'string', id: true, defaultFn: 'guid'});
const EVERYBODY = {principalType: 'ROLE', principalId: '$everyone', permission: 'ALLOW'};
const LOGGED_IN = {principalType: 'ROLE', principalId: '$authenticated', permission: 'ALLOW'};
const OWNER = {principalType: 'ROLE', principalId: '$owner', permission: 'ALLOW'};
const NOBODY = {principalType: 'ROLE', principalId: '$everyone', permission: 'DENY', accessType: '*'};

const MODELS = {
  Member: {
    plural: 'members',
    base: 'User',
    properties: {
      id: id(), phone: 'string', firstName: 'string', lastName: 'string', status: 'string',
      vendorOwner: 'boolean', siteOwner: 'boolean', appProvider: 'boolean',
    },
    relations: {
      accessTokens: {type: 'hasMany', model: 'AccessToken', foreignKey: 'userId'},
      vendors: {type: 'hasMany', model: 'Vendor', foreignKey: 'ownerId'},
    },
    acls: [{...OWNER, property: '__create__vendors'}],
  },
  Vendor: {
    plural: 'vendors',
    properties: {
      id: id(), vendorName: text, headOfficeAddress1: text, headOfficeAddress2: 'string',
      headOfficeAddress3: 'string', headOfficeZipcode: text, headOfficeCity: text, headOfficeCountry: text,
      headOfficePhone: 'string', description: text,
    },
    relations: {
      owner: {type: 'belongsTo', model: 'Member', foreignKey: 'ownerId'},
      sites: {type: 'hasMany', model: 'Site', foreignKey: 'vendorId'},
      offers: {type: 'hasMany', model: 'Offer', foreignKey: 'vendorId'},
    },
    acls: [NOBODY, {...EVERYBODY, property: '__create__sites'}, {...LOGGED_IN, property: '__create__offers'}],
  },
  Site: {
    plural: 'sites',
    properties: {id: id(), title: text, address: 'string', gps: 'geopoint', vendorId: 'string', adminId: 'string'},
    acls: [NOBODY, {...LOGGED_IN, property: 'setAdmin'}, {...EVERYBODY, property: 'coupons'}],
  },
  Offer: {
    plural: 'offers',
    properties: {
      id: id(), title: text, description: text, styleBorderColor: text, styleBackgroundColor: text,
      featureImage: text, url: 'string', vendorId: 'string',
    },
    relations: {
      sites: {
        type: 'hasMany', model: 'Site', through: 'SiteOffer', foreignKey: 'offerId', keyThrough: 'siteId',
      },
    },
    acls: [NOBODY, {...LOGGED_IN, property: '__link__sites'}],
  },
  SiteOffer: {
    plural: 'siteOffers',
    properties: {
      id: id(), instanceCost: {type: 'number', required: true}, instanceLimit: {type: 'number', required: true},
      instanceIssues: {type: 'number', required: true}, totalCost: {type: 'number', required: true},
      instanceStartIssueOn: 'date', instanceLastIssueOn: 'date', instanceExpiresOn: 'date',
      couponExpiresAfterDays: 'number', triggers: ['object'],
    },
    relations: {
      offer: {type: 'belongsTo', model: 'Offer', foreignKey: 'offerId'},
      site: {type: 'belongsTo', model: 'Site', foreignKey: 'siteId'},
    },
    acls: [NOBODY, {...EVERYBODY, property: 'issue'}],
  },
  Coupon: {
    plural: 'coupons',
    properties: {
      id: id(), redeemCode: text, redeemedOn: 'date', expiresOn: 'date', deviceId: text, createdOn: 'date',
      updatedOn: 'date', siteOfferId: text,
    },
    acls: [
      NOBODY, {...EVERYBODY, property: 'ofDevice'}, {...EVERYBODY, property: 'activate'},
      {...EVERYBODY, property: 'redeem'},
    ],
  },
  Device: {
    plural: 'devices',
    properties: {id: {type: 'string', id: true, required: true}, deviceModel: 'string', deviceOs: 'string'},
  },
  Reporting: {
    plural: 'reporting',
    base: 'Model',
    acls: [NOBODY, {...LOGGED_IN, property: 'vendor'}, {...LOGGED_IN, property: 'site'}],
  },
};

function notFound(message) {
  return Object.assign(new Error(message), {status: 404, statusCode: 404});
}

function plain(instance) {
  const fields = instance.toJSON();
  for (const name of Object.keys(fields)) if (fields[name] === undefined) delete fields[name];
  return fields;
}

function addCalls(models) {
  const {Coupon, Offer, Reporting, Site, SiteOffer, Vendor, Device} = models;

  async function shown(coupon) {
    const siteOffer = await SiteOffer.findById(coupon.siteOfferId);
    const offer = await Offer.findById(siteOffer.offerId);
    const site = await Site.findById(siteOffer.siteId);
    return {
      ...plain(coupon), offer: plain(offer), redemptionSite: plain(site), triggers: siteOffer.triggers || [],
    };
  }

  function remote(model, name, verb, path, accepts, work) {
    model[name] = work;
    model.remoteMethod(name, {
      isStatic: true,
      accepts: accepts.map(([arg, source]) => ({arg, type: 'string', required: true, http: {source}})),
      returns: {arg: 'results', type: 'object'},
      http: {verb, path},
    });
  }

  const inPath = (...names) => names.map(name => [name, 'path']);

  remote(SiteOffer, 'issue', 'post', '/:siteId/device/:deviceId', inPath('siteId', 'deviceId'),
    async (siteId, deviceId) => {
      const offers = await SiteOffer.find({where: {siteId}});
      if (!offers.length) throw notFound('Didnt return anything.');
      if (!await Device.findById(deviceId)) await Device.create({id: deviceId});
      const issued = [];
      const now = new Date();
      for (const offer of offers) {
        const ends = offer.instanceExpiresOn;
        if (offer.instanceIssues >= offer.instanceLimit || (ends && ends <= now)) continue;
        const days = offer.couponExpiresAfterDays;
        const until = [ends, days && new Date(now.getTime() + days * 86400000)].filter(Boolean);
        issued.push(await Coupon.create({
          redeemCode: crypto.randomBytes(8).toString('base64').replace(/[^A-Za-z0-9]/g, 'X').toUpperCase()
            .slice(0, 5),
          expiresOn: until.length ? new Date(Math.min(...until)) : undefined,
          deviceId, createdOn: now, updatedOn: now, siteOfferId: offer.id,
        }));
        await offer.updateAttributes({instanceIssues: offer.instanceIssues + 1, instanceLastIssueOn: now});
      }
      return Promise.all(issued.map(shown));
    });

  async function siteOffersOf(siteId) {
    return (await SiteOffer.find({where: {siteId}})).map(offer => offer.id);
  }

  remote(Coupon, 'ofDevice', 'get', '/sites/:siteId/devices/:deviceId', inPath('siteId', 'deviceId'),
    async (siteId, deviceId) => {
      const where = {deviceId};
      if (siteId !== 'all') where.siteOfferId = {inq: await siteOffersOf(siteId)};
      return Promise.all((await Coupon.find({where})).map(shown));
    });

  async function openCoupon(siteId, redeemCode, more) {
    const siteOfferId = {inq: await siteOffersOf(siteId)};
    const found = await Coupon.find({where: {redeemCode, siteOfferId, ...more}});
    const coupon = found.find(one => !one.redeemedOn && !(one.expiresOn && one.expiresOn <= new Date()));
    if (!coupon) throw notFound("Coupon not found honey. Check if it's already been redeemed.");
    return coupon;
  }

  remote(Coupon, 'activate', 'put', '/sites/:siteId/activate/:code', inPath('siteId', 'code'),
    async (siteId, code) => {
      const coupon = await openCoupon(siteId, code, {});
      return plain(await coupon.updateAttributes({updatedOn: new Date()}));
    });

  const redeemed = new Set(); // between finding a coupon and writing it down another call may have found it

  remote(Coupon, 'redeem', 'put', '/sites/:siteId/devices/:deviceId/redeem/:code',
    inPath('siteId', 'deviceId', 'code'),
    async (siteId, deviceId, code) => {
      const coupon = await openCoupon(siteId, code, {deviceId});
      if (redeemed.has(coupon.id)) throw notFound("Coupon not found honey. Check if it's already been redeemed.");
      redeemed.add(coupon.id);
      const now = new Date();
      return plain(await coupon.updateAttributes({redeemedOn: now, updatedOn: now}));
    });

  remote(Site, 'coupons', 'get', '/:siteId/coupons', inPath('siteId'), async siteId => {
    const siteOfferId = {inq: await siteOffersOf(siteId)};
    return Promise.all((await Coupon.find({where: {siteOfferId}})).map(shown));
  });

  remote(Site, 'setAdmin', 'put', '/:id/admin', [['id', 'path'], ['adminId', 'form']], async (siteId, adminId) => {
    const site = await Site.findById(siteId);
    if (!site) throw notFound('Didnt return anything.');
    return plain(await site.updateAttributes({adminId}));
  });

  function day(value) {
    const [, d, m, y] = /^(\d\d)-(\d\d)-(\d{4})$/.exec(value);
    return new Date(`${y}-${m}-${d}T00:00:00Z`);
  }

  async function report(siteOffers, parts, partOf, name, from, to) {
    const first = day(from);
    const end = to ? new Date(day(to).getTime() + 86400000) : new Date();
    const within = moment => moment && moment >= first && moment < end;
    const rows = {};
    for (const [key, label] of parts) {
      const own = siteOffers.filter(offer => partOf(offer) === key);
      const coupons = await Coupon.find({where: {siteOfferId: {inq: own.map(offer => offer.id)}}});
      rows[key] = {
        id: key, label, activeOffers: own.length,
        couponsIssued: coupons.filter(coupon => within(coupon.createdOn)).length,
        couponsRedeemed: coupons.filter(coupon => within(coupon.redeemedOn)).length,
      };
    }
    const sum = field => Object.values(rows).reduce((total, row) => total + row[field], 0);
    return {
      totalCouponsIssued: sum('couponsIssued'), totalCouponsRedeemed: sum('couponsRedeemed'), [name]: rows,
      from, to: to || '',
    };
  }

  function reporting(name, path, work) {
    Reporting[name] = work;
    Reporting.remoteMethod(name, {
      isStatic: true,
      accepts: [
        {arg: 'id', type: 'string', required: true, http: {source: 'path'}},
        {arg: 'from', type: 'string', required: true, http: {source: 'query'}},
        {arg: 'to', type: 'string', http: {source: 'query'}},
      ],
      returns: {arg: 'report', type: 'object', root: true},
      http: {verb: 'get', path},
    });
  }

  reporting('vendor', '/vendors/:id', async (vendorId, from, to) => {
    const sites = await Site.find({where: {vendorId}});
    const offers = await SiteOffer.find({where: {siteId: {inq: sites.map(site => site.id)}}});
    return report(offers, sites.map(site => [site.id, site.title]), offer => offer.siteId, 'sites', from, to);
  });

  reporting('site', '/sites/:id', async (siteId, from, to) => {
    const site = await Site.findById(siteId);
    if (!site) throw notFound('Didnt return anything.');
    const vendor = await Vendor.findById(site.vendorId);
    const offers = await SiteOffer.find({where: {siteId}});
    return report(offers, [[vendor.id, vendor.vendorName]], () => vendor.id, 'vendors', from, to);
  });
}

// Attaches all models; sitesAreOpen lets LoopBack's own reads of a site be called with the key alone.
module.exports = function attach(app, dataSource, {sitesAreOpen}) {
  const models = {};
  for (const [name, {base = 'PersistedModel', properties = {}, ...options}] of Object.entries(MODELS)) {
    const acls = [...(options.acls || [])];
    if (name === 'Site' && sitesAreOpen) {
      acls.push({...EVERYBODY, property: 'exists'}, {...EVERYBODY, property: 'findById'});
    }
    models[name] = app.registry.createModel(name, properties, {...options, base, acls, strict: true});
  }
  for (const [name, model] of Object.entries(models)) {
    app.model(model, {dataSource: name === 'Reporting' ? null : dataSource, public: true});
  }
  addCalls(models);
  return models;
};
