import{_ as e,c,b as t}from"./index-BUyS2XS4.js";const s={},n={class:"page"};function o(r,_){return t(),c("div",n)}const f=e(s,[["render",o]]);export{f as default};
