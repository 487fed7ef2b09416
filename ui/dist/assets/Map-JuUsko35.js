import{_ as e,o as c,c as o}from"./_plugin-vue_export-helper-COJPhe2r.js";const s={},t={class:"page"};function a(n,r){return c(),o("div",t)}const f=e(s,[["render",a]]);export{f as default};
