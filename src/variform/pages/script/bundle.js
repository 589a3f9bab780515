"use strict";
"use strict";(()=>{var ROOM={left:34,right:10,top:10,bottom:26},
SPACE=1.12,EDGE=.06,MOST_ZOOM=400,Frame=class _Frame{constructor(w,h,middle,scale){
this.w=w,this.h=h,this.middle=middle,this.
scale=scale,this.centre=[(ROOM.left+w-ROOM.
right)/2,(ROOM.top+h-ROOM.bottom)/2]}static around(points,w,h){
let[x0,x1]=extent(points,0),[y0,y1]=extent(
points,1),across=(w-ROOM.left-ROOM.right)/
((x1-x0)*SPACE||1),up=(h-ROOM.top-ROOM.bottom)/
((y1-y0)*SPACE||1);return new _Frame(w,h,
[(x0+x1)/2,(y0+y1)/2],Math.min(across,up))}toPlane(x,y){
let{middle,centre,scale}=this;return[middle[0]+
(x-centre[0])/scale,middle[1]-(y-centre[1])/
scale]}toScreen(x,y){let{middle,centre,scale}=this;
return[centre[0]+(x-middle[0])*scale,centre[1]-
(y-middle[1])*scale]}get box(){let[x0,y1]=this.
toPlane(0,0),[x1,y0]=this.toPlane(this.w,
this.h);return{x0,x1,y0,y1}}get inner(){
let[x0,y1]=this.toPlane(ROOM.left,0),[x1,
y0]=this.toPlane(this.w,this.h-ROOM.bottom);
return[x0,y0,x1,y1]}part(zoom){if(!zoom)
return this;let{w,h,centre}=this,scale=this.
scale*zoom.by,within4=(value,middle,before=0,after=0)=>{
let slack=1/this.scale-1/scale;return Math.
max(middle-before*slack,Math.min(middle+
after*slack,value))},x=within4(zoom.x,this.
middle[0],centre[0],w-centre[0]),y=within4(
zoom.y,this.middle[1],h-centre[1],centre[1]);
return new _Frame(w,h,[x,y],scale)}zoomed(zoom,factor,[
left,top]){let by=Math.min(MOST_ZOOM,(zoom?.
by??1)*factor);if(by<1.001)return null;let[
x,y]=this.part(zoom).toPlane(left,top),scale=this.
scale*by;return this._kept(by,x-(left-this.
centre[0])/scale,y+(top-this.centre[1])/
scale)}panned(zoom,right,down){if(!zoom)
return null;let{middle,scale}=this.part(
zoom);return this._kept(zoom.by,middle[0]-
right/scale,middle[1]+down/scale)}showing(zoom,place){
if(!zoom)return null;let{w,h}=this,[x,y]=this.
part(zoom).toScreen(...place);return x>ROOM.
left+EDGE*w&&x<w-EDGE*w&&y>EDGE*h&&y<h-ROOM.
bottom-EDGE*h?zoom:this._kept(zoom.by,...place)}_kept(by,x,y){
let{middle}=this.part({by,x,y});return{by,
x:middle[0],y:middle[1]}}};function extent(points,axis){
let low=1/0,high=-1/0;for(let at=axis;at<
points.length;at+=2)points[at]<low&&(low=
points[at]),points[at]>high&&(high=points[at]);
return low<=high?[low,high]:[0,0]}var digits=value=>Number(
value.toPrecision(7)),writeZoom=zoom=>zoom?
[zoom.by,zoom.x,zoom.y].map(digits).join(
","):"";function readZoom(text2){let[by,
x,y,...more]=text2.split(",").map(Number);
return by>1&&by<=MOST_ZOOM&&Number.isFinite(
x)&&Number.isFinite(y)&&!more.length?{by,
x,y}:void 0}var PER_CELL=4,Cells=class{constructor(points){
this.points=points;let[x0,x1]=extent(points,
0),[y0,y1]=extent(points,1),count=points.
length/2;this.side=Math.max(1,Math.round(
Math.sqrt(count/PER_CELL))),this.low=[x0,
y0],this.steps=[(x1-x0)/this.side||1,(y1-
y0)/this.side||1],this.starts=new Int32Array(
this.side*this.side+1);let cells=new Int32Array(
count);for(let i=0;i<count;i++)cells[i]=
Number.isFinite(points[2*i])?this._cell(
points[2*i],points[2*i+1]):-1,cells[i]>=
0&&this.starts[cells[i]+1]++;for(let cell=0;cell<
this.side*this.side;cell++)this.starts[cell+
1]+=this.starts[cell];let next=this.starts.
slice();this.order=new Int32Array(this.starts[this.
side*this.side]);for(let i=0;i<count;i++)
cells[i]>=0&&(this.order[next[cells[i]]++]=
i)}_line(value,axis){let line=Math.floor(
(value-this.low[axis])/this.steps[axis]);
return Math.max(0,Math.min(this.side-1,line))}_cell(x,y){
return this._line(y,1)*this.side+this._line(
x,0)}nearest(x,y,reach2,isWanted){let found=-1,
least=reach2*reach2,[left,right]=[this._line(
x-reach2,0),this._line(x+reach2,0)];for(let row=this.
_line(y-reach2,1);row<=this._line(y+reach2,
1);row++){let end=this.starts[row*this.side+
right+1];for(let at=this.starts[row*this.
side+left];at<end;at++){let i=this.order[at],
square=(this.points[2*i]-x)**2+(this.points[2*
i+1]-y)**2;!(square<least||square===least&&
i<found)||!isWanted(i)||(found=i,least=square)}}
return found}};var Tree=class{constructor(points,dim){this.
points=points,this.dim=dim;let every=new Int32Array(
points.length/dim).map((_,i)=>i);this.order=
every.filter(i=>isKnown(points,i*dim,dim));
let cells=1;for(;this.order.length>16*cells;)
cells*=2;this.leaves=cells,this.axis=new Int32Array(
cells),this.wall=new Float32Array(cells),
this._part(1,0,this.order.length)}_part(cell,low,high){
if(cell>=this.leaves)return;let middle=low+
high>>1,axis=this._widest(low,high);high>
low&&this._select(low,high-1,middle,axis),
this.axis[cell]=axis,this.wall[cell]=middle<
high?this.points[this.order[middle]*this.
dim+axis]:0,this._part(2*cell,low,middle),
this._part(2*cell+1,middle,high)}_widest(low,high){
let best=0,most=-1;for(let k=0;k<this.dim;k++){
let least=1/0,greatest=-1/0;for(let at=low;at<
high;at++){let value=this.points[this.order[at]*
this.dim+k];value<least&&(least=value),value>
greatest&&(greatest=value)}greatest-least<=
most||(most=greatest-least,best=k)}return best}_select(low,high,middle,axis){
let{order,points,dim}=this;for(;low<high;){
let pivot=points[order[low+high>>1]*dim+
axis],left=low,right=high;for(;left<=right;){
for(;points[order[left]*dim+axis]<pivot;)
left++;for(;points[order[right]*dim+axis]>
pivot;)right--;if(left>right)break;let moved=order[left];
order[left]=order[right],order[right]=moved,
left++,right--}if(middle<=right)high=right;else if(middle>=
left)low=left;else return}}nearest(z,start2=0,isWanted=null){
return this._z=z,this._start=start2,this.
_isWanted=isWanted,this._offsets=new Float64Array(
this.dim),this._index=-1,this._least=1/0,
this._visit(1,0,this.order.length,0),{index:this.
_index,square:this._least}}_visit(cell,low,high,away2){
if(cell>=this.leaves){this._look(low,high);
return}let middle=low+high>>1,axis=this.
axis[cell],beyond=this._z[this._start+axis]-
this.wall[cell],near=beyond<0?0:1;near?this.
_visit(2*cell+1,middle,high,away2):this.
_visit(2*cell,low,middle,away2);let before=this.
_offsets[axis],other=away2-before*before+
beyond*beyond;other<=this._least*(1+1e-9)&&
(this._offsets[axis]=beyond,near?this._visit(
2*cell,low,middle,other):this._visit(2*cell+
1,middle,high,other),this._offsets[axis]=
before)}_look(low,high){let{points,order,
dim}=this;for(let at=low;at<high;at++){let i=order[at],
square=0;for(let k=0,from=i*dim;k<dim;k++,
from++){let step=points[from]-this._z[this.
_start+k];square+=step*step}!(square<this.
_least||square===this._least&&i<this._index)||
this._isWanted&&!this._isWanted(i,square)||
(this._least=square,this._index=i)}}};function isKnown(points,start2,dim){
for(let k=0;k<dim;k++)if(!Number.isFinite(
points[start2+k]))return!1;return!0}var HOLE=/\{(\d+)(#|:say)?\}/g,ANYTHING="\
(?:(?![.!?] |; ).)+?",FIGURE="[\\d.,%+\\-±\
e ]+",PARTS=[/((?<=[.!?]) +(?=\S)|\n+)/,
/(; )/,/(, (?![^(]*\)))/];var escaped=words2=>words2.replace(/[.*+?^${}()|[\]\\/-]/g,
"\\$&"),bare=words2=>words2.endsWith(".")?
words2.slice(0,-1):words2,plain=key=>small(
bare(key)).replaceAll("#}","}"),small=words2=>words2.
charAt(0).toLowerCase()+words2.slice(1);
function isBalanced(part){let depth=0;for(let letter of part)
if(letter==="("?depth++:letter===")"&&depth--,
depth<0)return!1;return depth===0}function patternOf(key){
let seen=new Set,start2=0,source="";for(let hole of key.
matchAll(HOLE)){source+=escaped(key.slice(
start2,hole.index));let name=`h${hole[1]}`;
source+=seen.has(name)?`\\k<${name}>`:`(\
?<${name}>${hole[2]==="#"?FIGURE:ANYTHING}\
)`,seen.add(name),start2=hole.index+hole[0].
length}source+=escaped(key.slice(start2));
let first=key.charAt(0);return/[a-z]/i.test(
first)&&(source=`[${first.toLowerCase()}${first.
toUpperCase()}]${source.slice(1)}`),new RegExp(
`^${source}$`,"s")}var Words=class{_exact=new Map;_patterns=[];_kept=new Map;constructor(sentences={},phrases={}){
for(let[english,phrase]of Object.entries(
{...sentences,...phrases}))this._exact.set(
plain(english),bare(phrase));for(let[english,
phrase]of Object.entries(sentences)){let key=bare(
english),letters=key.replace(HOLE,"").length;
letters<key.length&&this._patterns.push(
{letters,pattern:patternOf(key),phrase:bare(
phrase)})}this._patterns.sort((a,b)=>b.letters-
a.letters)}say(text2){if(!this._exact.size)
return text2;let known=this._kept.get(text2);
if(known!==void 0)return known;let said=this.
_said(text2);return this._kept.size<5e3&&
this._kept.set(text2,said),said}fill(strings,values){
let key=strings.reduce((all,part,i)=>`${all}\
{${i-1}}${part}`),stop=key.endsWith(".")?
".":"",phrase=this._exact.get(plain(key)),
put=(_,at,how)=>how===":say"?this.say(String(
values[Number(at)])):String(values[Number(
at)]);return phrase===void 0?key.replace(
HOLE,put):phrase.replace(HOLE,put)+stop}_said(text2){
let whole2=this._found(text2);if(whole2!==
null)return whole2;for(let between2 of PARTS){
let pieces=text2.split(between2);if(pieces.
length>1)return pieces.map((piece,i)=>i%
2?piece:this.say(piece)).join("")}return text2}_found(text2){
let key=bare(text2),stop=text2.slice(key.
length),exact=this._exact.get(small(key));
if(exact!==void 0)return exact+stop;for(let{
pattern,phrase}of this._patterns){let groups=pattern.
exec(key)?.groups;if(!groups||!Object.values(
groups).every(isBalanced))continue;let put=(_,at,how)=>how?
this.say(groups[`h${at}`]):groups[`h${at}`];
return phrase.replace(HOLE,put)+stop}return null}};
function languageOf(tables,written,preferred){
return written in tables?written:preferred.
map(language=>language.toLowerCase().split(
"-")[0]).find(code=>code==="en"||code in
tables)??"en"}function ofPage(){let tables=globalThis.
variform?.words;if(!tables)return new Words;
let root=document.documentElement,code=languageOf(
tables,root.lang,navigator.languages);return root.
lang=code,new Words(tables[code]?.both,tables[code]?.
explorer)}var words=ofPage(),say=text2=>words.
say(text2),t=(strings,...values)=>words.
fill(strings,values);var Plane=class _Plane{_places=null;_cells=null;constructor(first,second,centre,names){
this.dim=first.length,this.first=first,this.
second=second,this.centre=centre,this.names=
names,this.isCurved=!1}lines(){return[]}static first({
dim,order},pca){return dim<3?"0,1":pca?"\
pca":`${order[0]},${order[1]}`}static isKnown(name,{
dim},pca){if(name==="pca")return pca!==null;
if(dim<3)return name==="0,1";let latents=name.
split(",").map(Number);return latents.every(
k=>Number.isInteger(k)&&k>=0&&k<dim)&&latents.
length===2&&latents[0]!==latents[1]}static named(name,{
dim},pca){if(name==="pca")return _Plane.
ofPca(pca);let[a,b]=name.split(",").map(
Number);return _Plane.ofLatents(dim,a,b)}static ofLatents(dim,a,b){
let unit=k=>Float64Array.from({length:dim},
(_,i)=>i===k?1:0),centre=new Float64Array(
dim);return dim===1?new _Plane(unit(a),null,
centre,[`z${a+1}`,""]):new _Plane(unit(a),
unit(b),centre,[`z${a+1}`,`z${b+1}`])}static ofPca({
axes,centre,shares}){let names=shares.map(
(share,i)=>t`PC${i+1} of the posterior means (${Math.
round(100*share)}%)`);return new _Plane(
axes[0],axes[1],centre,names)}place(z,start2=0){
let x=0,y=0;for(let k=0;k<this.dim;k++){
let offset=z[start2+k]-this.centre[k];x+=
offset*this.first[k],this.second&&(y+=offset*
this.second[k])}return[x,y]}placesOf(cloud){
return this._places??=this._placed(cloud),
this._places}_placed(cloud){let places=new Float32Array(
2*cloud.count);for(let i=0;i<cloud.count;i++)
places.set(this.place(cloud.means,i*cloud.
dim),2*i);return places}cellsOf(cloud){return this.
_cells??=new Cells(this.placesOf(cloud)),
this._cells}beside(z,towards,step){let[x,
y]=this.place(z);return this.at([x+step*
towards[0],y+step*towards[1]],z)}at([x,y],about){
let[x0,y0]=this.place(about),z=new Float32Array(
this.dim);for(let k=0;k<this.dim;k++){let up=this.
second?(y-y0)*this.second[k]:0;z[k]=about[k]+
(x-x0)*this.first[k]+up}return z}},Picture=class extends Plane{constructor(name,places,cloud){
super(new Float32Array(cloud.dim),new Float32Array(
cloud.dim),new Float32Array(cloud.dim),[
t`${name} 1, no distance`,t`${name} 2, no distance`]),
this._places=places,this.cloud=cloud,this.
tree=new Tree(places,2)}place(z,start2=0){
let i=this._exampleAt(z,start2);return[this.
_places[2*i],this._places[2*i+1]]}_exampleAt(z,start2){
let hasPlace=i=>Number.isFinite(this._places[2*
i]);return this.cloud.tree.nearest(z,start2,
hasPlace).index}at(place){return this.cloud.
point(this.tree.nearest(place).index)}beside(z,towards,step){
let[x,y]=this.place(z),isBeside=i=>{let[
right,up]=[this._places[2*i]-x,this._places[2*
i+1]-y],along2=right*towards[0]+up*towards[1];
return along2>=step&&along2>=Math.abs(right*
towards[1]-up*towards[0])},{index}=this.
tree.nearest([x,y],0,isBeside);return index<
0?z:this.cloud.point(index)}},Cloud=class{_usual=null;_tree=null;constructor(means,dim){
this.means=means,this.dim=dim,this.count=
means.length/dim}point(i){return this.means.
slice(i*this.dim,(i+1)*this.dim)}squared(i,z,start2=0){
let sum=0;for(let k=0,at=i*this.dim;k<this.
dim;k++,at++){let step=this.means[at]-z[start2+
k];sum+=step*step}return sum}nearest(z,groups=null,group=0){
let isWanted=groups&&(i=>groups[i]===group),
{index,square}=this.tree.nearest(z,0,isWanted);
return{index,distance:Math.sqrt(square)}}get tree(){
return this._tree??=new Tree(this.means,
this.dim),this._tree}middle(){let sum=new Float32Array(
this.dim);for(let i=0;i<this.count;i++)for(let k=0;k<
this.dim;k++)sum[k]+=this.means[i*this.dim+
k]/this.count;return this.point(this.nearest(
sum).index)}get usual(){return this._usual??=
this._distances(),this._usual}_distances(){
let step=Math.max(1,Math.floor(this.count/
300)),found=[];for(let i=0;i<this.count;i+=
step){let{square}=this.tree.nearest(this.
means,i*this.dim,(_,away2)=>away2>0);found.
push(Math.sqrt(square))}return found.filter(
Number.isFinite).sort((a,b)=>a-b)}get limit(){
return this.usual[Math.floor(.99*(this.usual.
length-1))]??0}strangeness(distance2){return distance2?
distance2/this.limit:0}spread(most){let count=Math.
min(most,this.count),step=(this.count-1)/
Math.max(1,count-1);return Int32Array.from(
{length:count},(_,i)=>Math.round(i*step))}};
function densityOf(points,box,size){let counts=countsOf(
points,box,size),count=points.length/2,narrower=Math.
max(.6,Math.min(1.6,(600/Math.max(count,
1))**(1/6))),smooth=blurred(counts,size,
Math.max(1.2,.055*size*narrower)),own=new Float32Array(
counts.reduce((sum,value)=>sum+value,0)),
at=0;counts.forEach((value,i)=>{own.fill(
smooth[i],at,at+value),at+=value});let usual=own.
sort()[Math.floor(own.length/2)]??1;return smooth.
map(value=>Math.min(1,value/usual))}function countsOf(points,{
x0,x1,y0,y1},size){let counts=new Float32Array(
size*size);for(let at=0;at<points.length;at+=
2){let column=Math.floor((points[at]-x0)/
(x1-x0)*size),row=Math.floor((points[at+
1]-y0)/(y1-y0)*size);column>=0&&column<size&&
row>=0&&row<size&&(counts[row*size+column]+=
1)}return counts}function blurred(values,size,width){
let reach2=Math.ceil(3*width),kernel=Float32Array.
from({length:2*reach2+1},(_,i)=>Math.exp(
-(((i-reach2)/width)**2)/2)),total=kernel.
reduce((a,b)=>a+b,0),along2=(from,step,next)=>{
let to=new Float32Array(from.length);for(let line=0;line<
size;line++)for(let i=0;i<size;i++){let sum=0,
low=Math.max(0,i-reach2),high=Math.min(size-
1,i+reach2);for(let j=low;j<=high;j++)sum+=
kernel[j-i+reach2]*from[line*next+j*step];
to[line*next+i*step]=sum/total}return to};
return along2(along2(values,1,size),size,
1)}var between=(a,b,share)=>Float32Array.
from(a,(value,k)=>value+(b[k]-value)*share),
distanceOf=(a,b)=>Math.sqrt(squareOf(a,b));
function squareOf(a,b){let sum=0;for(let k=0;k<
a.length;k++)sum+=(a[k]-b[k])**2;return sum}
function straightWay(a,b,steps,at=between){
return Array.from({length:steps},(_,i)=>at(
a,b,i/(steps-1)))}function wayAlongData(cloud,a,b,steps,most=1500){
let means=Array.from(cloud.spread(most),
i=>cloud.point(i)),way=evenly(shortestPath(
[a,...means,b]),60);for(let round=0;round<
12;round++)way=way.map((_,i)=>smoothed(way,
i));return evenly(way,steps)}function smoothed(way,i){
return i===0||i===way.length-1?way[i]:way[i].
map((value,k)=>(way[i-1][k]+2*value+way[i+
1][k])/4)}function shortestPath(points){
let count=points.length,cost=new Float64Array(
count).fill(1/0),before=new Int32Array(count).
fill(-1),isDone=new Uint8Array(count);for(cost[0]=
0;;){let at=cheapest(cost,isDone);if(at<
0||at===count-1)break;isDone[at]=1;for(let i=0;i<
count;i++){if(isDone[i])continue;let found=cost[at]+
squareOf(points[at],points[i])**2;found>=
cost[i]||(cost[i]=found,before[i]=at)}}let path=[];
for(let i=count-1;i>=0;i=before[i])path.
unshift(points[i]);return path}function cheapest(cost,isDone){
let best=-1,least=1/0;for(let i=0;i<cost.
length;i++)isDone[i]||cost[i]>=least||(best=
i,least=cost[i]);return best}function evenly(points,steps){
let lengths=[0];for(let i=1;i<points.length;i++)
lengths.push(lengths[i-1]+distanceOf(points[i],
points[i-1]));let whole2=lengths[lengths.
length-1],piece=1;return Array.from({length:steps},
(_,i)=>{let at=whole2*i/(steps-1);for(;piece<
points.length-1&&lengths[piece]<at;)piece++;
let length2=lengths[piece]-lengths[piece-
1],share=length2?(at-lengths[piece-1])/length2:
0;return between(points[piece-1],points[piece],
share)})}var RIM=240,EVERY=30,DEGREE=Math.PI/180,
GLOBE=/^globe:(-?\d{1,3}):(-?\d{1,2})$/,
product=(a,b)=>Array.from(a).reduce((sum,value,k)=>sum+
value*b[k],0),length=a=>Math.sqrt(product(
a,a)),Flat=class{nearest(z){return z}moved(z,k,value){
let point2=z.slice();return point2[k]=value,
point2}between(a,b,share){return between(
a,b,share)}},Sphere=class{nearest(z){let size=length(
z);return size>1e-9?z.map(value=>value/size):
z.map((_,k)=>k?0:1)}moved(z,k,value){let height=Math.
max(-1,Math.min(1,value)),rest=z.map((other,i)=>i===
k?0:other);length(rest)<1e-9&&(rest[k?0:
1]=1);let factor=Math.sqrt(1-height*height)/
length(rest);return rest.map((other,i)=>i===
k?height:factor*other)}between(a,b,share){
let angle=Math.acos(Math.max(-1,Math.min(
1,product(a,b)))),sine=Math.sin(angle);if(sine<
1e-6)return this.nearest(between(a,b,share));
let[first,second]=[Math.sin((1-share)*angle)/
sine,Math.sin(share*angle)/sine];return a.
map((value,k)=>first*value+second*b[k])}},
Ball=class{constructor(radius){this.radius=
radius}nearest(z){let size=length(z)/this.
radius,most=Math.tanh(8);return size>most?
z.map(value=>value*most/size):z}moved(z,k,value){
let point2=z.slice();return point2[k]=value,
this.nearest(point2)}_added(x,y){let c=1/
this.radius**2,[xy,xx,yy]=[c*product(x,y),
c*product(x,x),c*product(y,y)],below=1+2*
xy+xx*yy;return x.map((value,k)=>((1+2*xy+
yy)*value+(1-xx)*y[k])/below)}between(a,b,share){
let[from,to]=[Float64Array.from(a),Float64Array.
from(b)],way=this._added(from.map(value=>-value),
to),size=length(way)/this.radius;if(size<
1e-12)return Float32Array.from(a);let shorter=Math.
tanh(share*Math.atanh(Math.min(size,1-1e-15)))/
size;return Float32Array.from(this._added(
from,way.map(value=>value*shorter)))}};function spaceOf({
space}){return space?.kind==="sphere"?new Sphere:
space?.kind==="ball"?new Ball(space.radius):
new Flat}function circle(radius){return Array.
from({length:RIM+1},(_,i)=>{let angle=2*
Math.PI*i/RIM;return[radius*Math.cos(angle),
radius*Math.sin(angle)]})}var Globe=class extends Plane{constructor(axes,turn,tilt){
let[sine,cosine]=[Math.sin(turn*DEGREE),
Math.cos(turn*DEGREE)],[up,along2]=[Math.
sin(tilt*DEGREE),Math.cos(tilt*DEGREE)],
mixed=(a,b,c)=>axes[0].map((value,k)=>a*
value+b*axes[1][k]+c*axes[2][k]),names=axes[0].
length>3?[t`the three principal axes`,""]:
["",""];super(mixed(-sine,cosine,0),mixed(
-up*cosine,-up*sine,along2),new Float64Array(
axes[0].length),names),this.towards=mixed(
along2*cosine,along2*sine,up),this.axes=
axes,this.isCurved=!0}static parts(name){
let[,turn,tilt]=GLOBE.exec(name)??[];return turn===
void 0?null:{turn:Number(turn),tilt:Number(
tilt)}}depth(z,start2=0){let sum=0;for(let k=0;k<
this.dim;k++)sum+=z[start2+k]*this.towards[k];
return sum}_placed(cloud){let places=super.
_placed(cloud);for(let i=0;i<cloud.count;i++)
this.depth(cloud.means,i*cloud.dim)<0&&places.
fill(Number.NaN,2*i,2*i+2);return places}at([
x,y],about){let inAxes=this.axes.map(axis=>product(
axis,about)),inside=this.dim>3?length(inAxes):
1,size=Math.max(inside,.001),far=Math.hypot(
x,y)/size,[u,v]=far>1?[x/far,y/far]:[x,y],
w=Math.sqrt(Math.max(0,size*size-u*u-v*v));
return Float32Array.from({length:this.dim},
(_,k)=>(this.dim>3?about[k]-inAxes.reduce(
(sum,value,a)=>sum+value*this.axes[a][k],
0):0)+u*this.first[k]+v*this.second[k]+w*
this.towards[k])}lines(){let lines=[circle(
1)],[east,north,up]=this.axes,point2=(turn,height)=>east.
map((value,k)=>Math.cos(height)*(Math.cos(
turn)*value+Math.sin(turn)*north[k])+Math.
sin(height)*up[k]),visible=points=>{let line=[];
for(let z of points)this.depth(z)>=0?line.
push(this.place(z)):line.length&&(line=lines[lines.
push(line)-1]&&[]);line.length&&lines.push(
line)};for(let degree=0;degree<360;degree+=
EVERY)visible(Array.from({length:61},(_,i)=>point2(
degree*DEGREE,(i*3-90)*DEGREE)));for(let degree=EVERY-
90;degree<90;degree+=EVERY)visible(Array.
from({length:121},(_,i)=>point2(i*3*DEGREE,
degree*DEGREE)));return lines}},Disc=class extends Plane{constructor(radius){
super(Float64Array.of(1,0),Float64Array.
of(0,1),new Float64Array(2),["z1","z2"]),
this.ball=new Ball(radius),this.isCurved=
!0}at(place){return this.ball.nearest(Float32Array.
from(place))}lines(){let{radius}=this.ball;
return[radius,...[2,4,6].map(distance2=>radius*
Math.tanh(distance2/2))].map(circle)}};function firstCurved({
space,dim}){return space?.kind==="sphere"&&
space.axes?"globe:30:20":space?.kind==="\
ball"&&dim===2?"disc":null}function curvedPlane(name,latents){
let first=firstCurved(latents),turned=Globe.
parts(name);return turned&&first?.startsWith(
"globe")?new Globe(latents.space.axes,turned.
turn,turned.tilt):name==="disc"&&first===
"disc"?new Disc(latents.space.radius):null}function bytesOf(text2){let characters=atob(
text2),bytes=new Uint8Array(characters.length);
for(let i=0;i<bytes.length;i++)bytes[i]=
characters.charCodeAt(i);return bytes}var floatsOf=text2=>new Float32Array(
bytesOf(text2).buffer),integersOf=text2=>new Int16Array(
bytesOf(text2).buffer);function npyOf(values,shape){
let header=`{'descr': '<f4', 'fortran_or\
der': False, 'shape': ${shape.length===1?
`(${shape[0]},)`:`(${shape.join(", ")})`}\
, }`,length2=Math.ceil((header.length+11)/
64)*64-10,line=`${header.padEnd(length2-
1)}
`,head=new Uint8Array(10+length2);head.set(
[147,78,85,77,80,89,1,0,length2&255,length2>>
8]);for(let i=0;i<length2;i++)head[10+i]=
line.charCodeAt(i);return new Blob([head,
Float32Array.from(values)],{type:"applic\
ation/octet-stream"})}function csvOf(rows){
let lines=rows.map(row=>row.map(cellOf).
join(","));return new Blob([`${lines.join(
`\r
`)}\r
`],{type:"text/csv"})}function cellOf(value){
let text2=String(value);return/[",\r\n]/.
test(text2)?`"${text2.replaceAll('"','""')}\
"`:text2}function save(blob,name){let link=document.
createElement("a");link.href=URL.createObjectURL(
blob),link.download=name,document.body.append(
link),link.click(),link.remove(),setTimeout(
()=>URL.revokeObjectURL(link.href),1e4)}var MINUS="−";function shown(value,unit=0){
if(value===null||!Number.isFinite(value))
return"–";let text2=digitsOf(value,unit);
return Number(text2)===0?text2.replace("\
-",""):text2.replace("-",MINUS)}function digitsOf(value,unit){
let size=Math.abs(value);if(unit>0&&size<
1e6){let places=Math.max(0,Math.min(8,-Math.
floor(Math.log10(unit))));return value.toFixed(
places)}return size!==0&&(size>=1e5||size<
.001)?value.toExponential(2):String(Number(
value.toPrecision(4)))}function stepOf(values){
let sizes=Array.from(values,Math.abs).filter(
size=>Number.isFinite(size)&&size>0);return sizes.
length?(sizes.sort((a,b)=>a-b),10**(Math.
floor(Math.log10(sizes[sizes.length>>1]))-
3)):0}function away(distance2){return distance2<
.005?t`right here`:t`${distance2<10?distance2.
toFixed(2):shown(distance2)} away`}function rowName(name){
let number=name?.match(/^row (\d+)$/);return number?
t`row ${number[1]}`:name}function float32Text(value){
if(!Number.isFinite(value))return"";for(let digits3=1;digits3<
9;digits3++){let text2=value.toPrecision(
digits3);if(Math.fround(Number(text2))===
Math.fround(value))return String(Number(
text2))}return String(Number(value.toPrecision(
9)))}var FONTS='system-ui, -apple-system, "Se\
goe UI", Roboto, "Noto Sans", "DejaVu Sa\
ns", sans-serif',colours={paper:"",card:"",
ink:"",soft:"",line:"",accent:"",second:"",
fog:"",panel:"",missing:"",lit:""},Theme={
colours,dark:!1,palettes:{light:[],dark:[]},
get palette(){return Theme.palettes[Theme.
dark?"dark":"light"]},read(){let style=getComputedStyle(
document.documentElement);for(let name of Object.
keys(colours))colours[name]=style.getPropertyValue(
`--${name}`).trim();Theme.dark=style.getPropertyValue(
"--is-dark").trim()==="1"},font:(size,weight=400)=>`${weight}\
 ${size}px ${FONTS}`},VIRIDIS="#440154 #\
482475 #414487 #355f8d #2a788e #21918c #\
22a884 #44bf70 #7ad151 #bddf26 #fde725".
split(" ").map(hexOf);function hexOf(text2){
return[1,3,5].map(place=>Number.parseInt(
text2.slice(place,place+2),16))}function partsOf(text2){
return text2.startsWith("#")?hexOf(text2):
text2.match(/\d+/g).slice(0,3).map(Number)}
function scaleColour(share){let begin=Theme.
dark?.2:0,at=(begin+Math.max(0,Math.min(
1,share))*(1-begin))*(VIRIDIS.length-1),
low=Math.min(VIRIDIS.length-2,Math.floor(
at)),from=VIRIDIS[low],to=VIRIDIS[low+1];
return`rgb(${from.map((value,k)=>Math.round(
value+(to[k]-value)*(at-low))).join(",")}\
)`}var MOST_COLOURS=10,LEVELS=128,OTHERS=MOST_COLOURS,
NONE=MOST_COLOURS+1;function numbersOf(column){
return column.numbers??=column.kind==="c\
ategory"?integersOf(column.values):floatsOf(
column.values),column.numbers}var titleOf=({
name,role})=>role==="error"||role==="spl\
it"?say(name):name;function wordsOf(column,i){
let value=numbersOf(column)[i];return column.
kind==="category"?categoryOf(column,value)??
t`none`:Number.isFinite(value)?column.unit?
`${shown(value)} ${column.unit}`:shown(value):
t`none`}var categoryOf=({categories,role},place)=>role===
"split"?say(categories[place]):categories[place];
function colouring(world,name){let column=world.
columns.find(item=>item.name===name);return column?
column.kind==="number"?byNumber(column):
byCategory(column):null}function byNumber(column){
let numbers=numbersOf(column);column.sorted??=
Float32Array.from(numbers.filter(Number.
isFinite)).sort();let last=column.sorted.
length-1,low=column.sorted[Math.floor(.01*
last)],high=column.sorted[Math.ceil(.99*
last)],length2=high-low||1,shades=[...Array.
from({length:LEVELS},(_,level)=>scaleColour(
level/(LEVELS-1))),Theme.colours.missing],
places=Uint8Array.from(numbers,value=>Number.
isFinite(value)?Math.round((LEVELS-1)*Math.
max(0,Math.min(1,(value-low)/length2))):
LEVELS),of=i=>shades[places[i]],missing=numbers.
length-column.sorted.length,range=[column.
sorted[0],column.sorted[last]];return{...column,
low,high,range,missing,shades,places,of,
group:()=>0,groups:[]}}function byCategory(column){
let numbers=numbersOf(column),{missing}=Theme.
colours,{palette}=Theme,counts=new Map;for(let value of numbers)
counts.set(value,(counts.get(value)??0)+
1);let known=column.categories.map((_,k)=>k).
filter(k=>counts.has(k)),most=known.toSorted(
(a,b)=>counts.get(b)-counts.get(a)).slice(
0,MOST_COLOURS-1),kept=known.length<=MOST_COLOURS?
known:most,groupOf=new Map(kept.map((k,i)=>[
k,i])),groups=kept.map((k,i)=>({name:categoryOf(
column,k),count:counts.get(k),shade:palette[i],
group:i})),others=known.filter(k=>!groupOf.
has(k));if(others.length){let count=others.
reduce((sum,k)=>sum+counts.get(k),0);groups.
push({name:t`${others.length} others`,count,
shade:missing,group:OTHERS})}counts.has(
-1)&&groups.push({name:t`none`,count:counts.
get(-1),shade:missing,group:NONE});let places=Uint8Array.
from(numbers,value=>groupOf.get(value)??
(value<0?NONE:OTHERS)),shades=Array.from(
{length:NONE+1},(_,k)=>palette[k]??missing);
return{...column,groups,group:i=>places[i],
of:i=>shades[places[i]],shades,places,low:0,
high:0,range:[0,0],missing:0}}function quantitiesOf(designs,columns,values){
let known=columns.filter(({kind})=>kind===
"number").map(ofColumn);if(!designs.lines)
return known;let taken=new Set(columns.map(
({name})=>name)),own=designs.columns.map(
({name,full,unit},k)=>{let numbers=null,
every=()=>Float32Array.from({length:values.
length/designs.size},(_,i)=>values[i*designs.
size+k]);return{name:taken.has(name)?full:
name,unit,column:k,get numbers(){return numbers??=
every(),numbers}}});return[...known,...own]}
function ofColumn(column){return{name:column.
name,unit:column.unit??"",column:column.
column??-1,get numbers(){return numbersOf(
column)}}}function extentOf(numbers){let low=1/0,
high=-1/0;for(let value of numbers)value<
low&&(low=value),value>high&&(high=value);
return[low,high]}var isOpen=({low,high})=>low===
null&&high===null;function within(quantities,limits,count){
let closed=limits.filter(limit=>!isOpen(
limit));if(!closed.length)return null;let inside=new Uint8Array(
count).fill(1);for(let{name,low,high}of closed){
let{numbers}=quantities.find(quantity=>quantity.
name===name);for(let i=0;i<count;i++)numbers[i]>=
(low??-1/0)&&numbers[i]<=(high??1/0)||(inside[i]=
0)}return inside}function writeLimits(limits){
let digits3=value=>value===null?"":Number(
value.toPrecision(6));return limits.map(
({name,low,high})=>[encodeURIComponent(name),
digits3(low),digits3(high)].join(":")).join(
"|")}function readLimits(text2,quantities){
let end=words2=>words2&&Number.isFinite(
Number(words2))?Number(words2):null,limits=text2.
split("|").map(words2=>{let[name,low="",
high=""]=words2.split(":");return{name:decoded(
name),low:end(low),high:end(high)}}),isKnown2=(limit,i)=>quantities.
some(({name})=>name===limit.name)&&limits.
findIndex(({name})=>name===limit.name)===
i;return limits.filter(isKnown2)}function decoded(text2){
try{return decodeURIComponent(text2)}catch{
return""}}var digits2=value=>Number(value.toPrecision(
7));function rectangleOf([ax,ay],[bx,by]){
return[digits2(Math.min(ax,bx)),digits2(
Math.min(ay,by)),digits2(Math.max(ax,bx)),
digits2(Math.max(ay,by))]}function lassoOf(corners){
let step=Math.max(1,corners.length/60),region=Array.
from({length:Math.min(60,corners.length)},
(_,i)=>corners[Math.floor(i*step)]).flat().
map(digits2);return areaOf(region)?region:
null}function areaOf(corners){let twice=0;
for(let at=0;at<corners.length;at+=2){let next=(at+
2)%corners.length;twice+=corners[at]*corners[next+
1]-corners[next]*corners[at+1]}return Math.
abs(twice)/2}function isWithin(region,x,y){
if(region.length===4)return x>=region[0]&&
x<=region[2]&&y>=region[1]&&y<=region[3];
let isInside=!1,[x0,y0]=region.slice(-2);
for(let at=0;at<region.length;at+=2){let[
x1,y1]=[region[at],region[at+1]];y0>y!=y1>
y&&x<x0+(x1-x0)*(y-y0)/(y1-y0)&&(isInside=
!isInside),[x0,y0]=[x1,y1]}return isInside}
function cornersOf(region){if(region.length===
4){let[x0,y0,x1,y1]=region;return[[x0,y1],
[x1,y1],[x1,y0],[x0,y0]]}return Array.from(
{length:region.length/2},(_,i)=>[region[2*
i],region[2*i+1]])}var writeRegion=region=>region?
region.join(","):"";function readRegion(text2){
let region=text2.split(",").map(Number);
return!(region.length>=4&&region.length<=
120&&region.length%2===0)||!region.every(
Number.isFinite)||region.length===4&&(region[0]>
region[2]||region[1]>region[3])?void 0:region}var MOST_PINS=40,PICTURE="picture",MOST_COMPARED=4,
THEMES=["auto","light","dark"],whole=(least,most)=>text2=>{
let value=Number(text2);return Number.isInteger(
value)&&value>=least&&value<=most?value:
void 0},oneOf=words2=>text2=>words2.includes(
text2)?text2:void 0,list=numbers=>Array.
from(numbers,value=>String(Number(value.
toFixed(4)))).join(","),point=length2=>text2=>{
let values=Float32Array.from(text2.split(
","),Number);return values.length===length2&&
values.every(Number.isFinite)?values:void 0};
function writeLabels(labels){let coded=words2=>encodeURIComponent(
words2).replaceAll("~","%7E"),texts=labels.
map(({name,note:note2})=>`${coded(name)}\
|${coded(note2)}`);return texts.some(text2=>text2!==
"|")?texts.join("~"):""}function readLabels(text2){
try{return text2.split("~").map(words2=>{
let[name="",note2=""]=words2.split("|").
map(decodeURIComponent);return{name,note:note2}})}catch{
return}}function shared({contents,world,
views,first}){let{latents,plane}=contents,
{columns,cloud,quantities}=world,colour=columns.
find(column=>column.name!=="split")??columns[0],
readPoint=point(latents.dim),readPins2=text2=>text2.
split("~").map(readPoint).filter(Boolean).
slice(0,MOST_PINS),responses=world.study?.
responses??[],width=contents.context.length;
return{view:{start:first.key,read:oneOf(
views.map(({key})=>key))},z:{start:cloud.
middle(),read:readPoint,write:list},pins:{
start:[],read:readPins2,write:pins=>pins.
map(list).join("~")},labels:{start:[],read:readLabels,
write:writeLabels},theme:{start:"auto",read:oneOf(
THEMES)},plane:{start:firstCurved(latents)??
Plane.first(latents,plane),read:text2=>text2===
PICTURE?contents.embedding?text2:void 0:
curvedPlane(text2,latents)||Plane.isKnown(
text2,latents,plane)?text2:void 0},colour:{
start:colour.name,read:oneOf(["",...columns.
map(({name})=>name)])},marks:{start:"dot\
s",read:oneOf(["dots","pictures"])},fog:{
start:!0,read:text2=>text2!=="0",write:isOn=>isOn?
"1":"0"},fogOf:{start:"validity",read:oneOf(
["validity","data"])},only:{start:-1,read:whole(
-1,99)},target:{start:[],read:text2=>readLimits(
text2,[...quantities,...responses]),write:writeLimits},
limits:{start:[],read:text2=>readLimits(
text2,quantities),write:writeLimits},zoom:{
start:null,read:readZoom,write:writeZoom},
selection:{start:null,read:readRegion,write:writeRegion},
designs:{start:!0,read:text2=>text2!=="0",
write:isOn=>isOn?"1":"0"},spread:{start:!1,
read:text2=>text2==="1",write:isOn=>isOn?
"1":""},tray:{start:[],read:text2=>text2.
split("~").slice(0,MOST_COMPARED),write:keys=>keys.
join("~")},context:{name:"told",start:Float32Array.
from(contents.context),read:text2=>width?
point(width)(text2):void 0,write:list}}}
var Address=class{constructor(app){this.
parts=shared(app);for(let view of app.views)
Object.assign(this.parts,view.kept(app.contents))}start(){
let values=Object.entries(this.parts).map(
([key,{start:start2}])=>[key,start2]);return Object.
fromEntries(values)}write(state){let found=[];
for(let[key,{name=key,write=String}]of Object.
entries(this.parts)){let text2=write(state[key]);
text2!==""&&found.push(`${name}=${encodeURIComponent(
text2).replaceAll("%2C",",")}`)}return`#${found.
join("&")}`}read(fragment){let texts=new URLSearchParams(
fragment.slice(1)),found={};for(let[key,
{name=key,read}]of Object.entries(this.parts)){
let text2=texts.get(name),value=text2===
null?void 0:read(text2);value!==void 0&&
(found[key]=value)}return found}};function prepare(canvas,w,h){let ratio=Math.
min(3,window.devicePixelRatio||1),width=Math.
max(1,Math.round(w*ratio)),height=Math.max(
1,Math.round(h*ratio));(canvas.width!==width||
canvas.height!==height)&&(canvas.width=width,
canvas.height=height),canvas.style.width=
`${w}px`,canvas.style.height=`${h}px`;let context=canvas.
getContext("2d");return context.setTransform(
width/w,0,0,height/h,0,0),context}function fitted(aspect,w,h,x=0,y=0){
let width=Math.min(w,h*aspect),height=width/
aspect;return{x:x+(w-width)/2,y:y+(h-height)/
2,w:width,h:height}}function tileOf(picture,across,width,height){
return(context,i,{x,y,w,h})=>{context.imageSmoothingEnabled=
w<width;let left=i%across*width,top=Math.
floor(i/across)*height;context.drawImage(
picture,left,top,width,height,x,y,w,h)}}
function ticks(low,high,count){let rough=(high-
low)/count||1,power=10**Math.floor(Math.
log10(rough)),step=power*([1,2,5].find(factor=>factor*
power>=rough)??10),found=[];for(let k=Math.
ceil(low/step-1e-9);k*step<=high+1e-9*step;k++)
found.push(k*step);return found}var MARGINS={left:50,right:18,top:8,bottom:34},
Lines=class{constructor(line){let[x0,x1,
y0,y1]=line.box;this.line=line,this.width=
x1-x0||1,this.height=y1-y0||1,this.isEqual=
line.scale==="equal",this.aspect=this.isEqual?
Math.max(.4,Math.min(2.5,this.width/this.
height)):1.6}points(values){let{x,places,
y}=this.line;return Float64Array.from({length:2*
y.length},(_,at)=>{let k=at>>1;return at%
2?values[y[k]]:x?values[x[k]]:places[k]})}frame({
x,y,w,h}){let[x0,x1,y0,y1]=this.line.box,
across=w/this.width,up=h/this.height;this.
isEqual&&(across=up=Math.min(across,up));
let middle=[(x0+x1)/2,(y0+y1)/2];return{
across,up,x:value=>x+w/2+(value-middle[0])*
across,y:value=>y+h/2-(value-middle[1])*
up,range:[middle[0]-w/2/across,middle[0]+
w/2/across,middle[1]-h/2/up,middle[1]+h/
2/up]}}draw(context,values,box,{colour,width,
filled=!1}){let frame=this.frame(box),points=this.
points(values);context.save(),context.beginPath(),
context.rect(box.x-2,box.y-2,box.w+4,box.
h+4),context.clip(),context.beginPath();
let isDrawing=!1,isWhole=!0;for(let at=0;at<
points.length;at+=2){let isThere=Number.
isFinite(points[at])&&Number.isFinite(points[at+
1]);isThere&&isDrawing?context.lineTo(frame.
x(points[at]),frame.y(points[at+1])):isThere&&
context.moveTo(frame.x(points[at]),frame.
y(points[at+1])),isDrawing=isThere,isWhole&&=
isThere}this.line.closed&&isWhole&&context.
closePath(),filled&&this.line.closed&&this.
_fill(context,colour),context.strokeStyle=
colour,context.lineWidth=width,context.lineJoin=
"round",context.stroke(),context.restore()}_fill(context,colour){
context.fillStyle=colour,context.globalAlpha=
.12,context.fill(),context.globalAlpha=1}heightOf(w,most){
let{left,right,top,bottom}=MARGINS,inside=(w-
left-right)/(this.isEqual?this.width/this.
height:1.8);return Math.round(Math.max(80,
Math.min(most,inside))+top+bottom)}plot(context,values,other,{
w,h},spread=null){let{accent,second}=Theme.
colours,{left,right,top,bottom}=MARGINS,
box={x:left,y:top,w:w-left-right,h:h-top-
bottom};if(context.clearRect(0,0,w,h),this.
_axes(context,box),this.draw(context,values,
box,{colour:accent,width:2.5,filled:!0}),
other&&this.draw(context,other,box,{colour:second,
width:1.5}),!!spread)for(let way of[-1,1])
this.draw(context,this._moved(values,spread,
way),box,{colour:accent,width:1})}_moved(values,spread,way){
let moved=Float32Array.from(values);for(let column of this.
line.y)moved[column]+=way*spread[column];
return moved}_axes(context,box){let{soft,
line}=Theme.colours,frame=this.frame(box),
[x0,x1,y0,y1]=frame.range,[unitOfX,unitOfY]=this.
line.axes;context.font=Theme.font(11),context.
fillStyle=soft,context.strokeStyle=line,
context.lineWidth=1,context.textAlign="r\
ight",context.textBaseline="middle";for(let value of ticks(
y0,y1,Math.max(2,box.h/40))){let y=Math.
round(frame.y(value))+.5;segment(context,
[box.x,y],[box.x+box.w,y]),context.fillText(
shown(value),box.x-6,y)}let bottom=box.y+
box.h;if(context.textAlign="center",context.
textBaseline="top",this.line.scale!=="un\
known")for(let value of ticks(x0,x1,Math.
max(2,box.w/70))){let x=Math.round(frame.
x(value))+.5;segment(context,[x,bottom],
[x,bottom+4]),context.fillText(shown(value),
x,bottom+6)}let words2=this.line.scale===
"unknown"?t`places x are not known`:unitOfX;
context.fillText(words2,box.x+box.w/2,bottom+
19),unitOfY&&(context.textAlign="left",context.
fillText(unitOfY,2,bottom+19))}};function segment(context,from,to){
context.beginPath(),context.moveTo(...from),
context.lineTo(...to),context.stroke()}var within2=(value,low,high)=>Math.max(low,
Math.min(high,value)),inset=({x,y,w,h},margin)=>({
x:x+margin,y:y+margin,w:w-2*margin,h:h-2*
margin}),Designs=class{constructor(event){
this.event=event,this.kind=event.kind,this.
size=event.shape.reduce((product3,side)=>product3*
side,1),this.columns=event.columns??[],this.
lines=event.line?new Lines(event.line):null,
this.aspect=this.lines?.aspect??1,this.lows=
[event.range[0]].flat(),this.highs=[event.
range[1]].flat(),this.low=this.lows[0],this.
high=this.highs[0],this.channels=event.shape[0],
this.height=event.shape[1],this.width=event.
shape[2],this.kind==="image"&&(this.aspect=
this.width/this.height),this.areWide=this.
kind!=="image",this.areAllReal=this.columns.
every(({kind})=>kind==="real")}part(values,i){
return values.subarray(i*this.size,(i+1)*
this.size)}sheet(values,count=values.length/
this.size){if(this.kind!=="image")return{
draw:(context,i,box)=>this._glyph(context,
this.part(values,i),box)};let across=Math.
max(1,Math.ceil(Math.sqrt(count))),canvas=document.
createElement("canvas");canvas.width=across*
this.width,canvas.height=Math.max(1,Math.
ceil(count/across))*this.height;let picture=new ImageData(
canvas.width,canvas.height);for(let i=0;i<
count;i++){let left=i%across*this.width,
top=Math.floor(i/across)*this.height;this.
_pixels(picture,this.part(values,i),left,
top)}return canvas.getContext("2d").putImageData(
picture,0,0),{draw:tileOf(canvas,across,
this.width,this.height)}}async examples(rows){
if(this.kind!=="image"){let values=floatsOf(
rows.values);return{...this.sheet(values),
values}}let{data,type,across,width,height}=rows.
picture,picture=await createImageBitmap(
new Blob([bytesOf(data)],{type}));return{
draw:tileOf(picture,across,width,height),
values:null}}_pixels(picture,values,left,top){
let area=this.width*this.height,shown2=this.
channels>2?[0,1,2]:[0,this.channels-1,this.
channels-1],factors=shown2.map(channel=>255/
(this.highs[channel]-this.lows[channel]||
1));for(let row=0;row<this.height;row++){
let at=4*((top+row)*picture.width+left);
for(let column=0;column<this.width;column++,
at+=4){let place=row*this.width+column;for(let colour=0;colour<
3;colour++){let channel=shown2[colour],value=values[place+
channel*area];picture.data[at+colour]=(value-
this.lows[channel])*factors[colour]+.5}picture.
data[at+3]=255}}}_glyph(context,values,box){
let{panel,accent}=Theme.colours;context.
fillStyle=panel,context.fillRect(box.x,box.
y,box.w,box.h),this.lines?this.lines.draw(
context,values,inset(box,3),{colour:accent,
width:box.w>160?2:1.4}):this._bars(context,
values,inset(box,3))}_bars(context,values,{
x,y,w,h}){let count=Math.min(this.size,Math.
max(1,Math.floor(h/3))),step=h/count,height=Math.
max(1,step-1);for(let k=0;k<count;k++){let share=this.
share(k,values[k]);context.fillStyle=Theme.
colours.line,context.fillRect(x,y+k*step,
w,height),share!==null&&(context.fillStyle=
Theme.colours.accent,context.fillRect(x,
y+k*step,Math.max(1,w*share),height))}}share(column,value){
if(!Number.isFinite(value))return null;let{
low,high}=this.columns[column];return high>
low?within2((value-low)/(high-low),0,1):
.5}tidy(column,value){let{kind,categories,
whole:whole2,low,high}=this.columns[column];
if(!Number.isFinite(value))return Number.
NaN;if(categories.length)return within2(
Math.round(value),0,categories.length-1);
if(kind==="count")return Math.max(0,Math.
round(value));if(this.areAllReal)return value;
let rounded2=whole2?Math.round(value):value;
return kind==="real"||kind==="positive"?
rounded2:within2(rounded2,low,high)}text(column,value){
let{categories,low,high,whole:whole2,kind}=this.
columns[column],tidy=this.tidy(column,value);
return Number.isFinite(tidy)?categories.
length?categories[tidy]:whole2&&kind!=="\
real"?shown(tidy,1):shown(tidy,(high-low)/
500||0):t`missing`}cells(values){if(this.
kind!=="image"){let row=this.columns.map(
(column,k)=>this._cell(column,this.tidy(
k,values[k])));return[this.columns.map(({
full})=>full),row]}let numbered=Array.from(
{length:this.channels},(_,channel)=>`cha\
nnel ${channel+1}`),names={1:["value"],3:[
"red","green","blue"]}[this.channels]??numbered,
area=this.width*this.height,rows=[["row",
"column",...names]];for(let i=0;i<area;i++){
let pixel=names.map((_,channel)=>float32Text(
values[channel*area+i]));rows.push([Math.
floor(i/this.width),i%this.width,...pixel])}
return rows}_cell({categories},value){return categories.
length&&Number.isFinite(value)?categories[value]:
float32Text(value)}};var byId=name=>document.getElementById(name);
function element(tag,options={},...children){
let made=document.createElement(tag);for(let[
name,value]of Object.entries(options))value==
null||value===!1||(name.startsWith("on")?
made.addEventListener(name.slice(2),value):
name.includes("-")||name==="role"?made.setAttribute(
name,value===!0?"":value):Object.assign(
made,{[name]:value}));return made.append(
...children.filter(child=>child!==null)),
made}var text=(tag,words2,options={})=>element(
tag,{...options,textContent:words2}),note=words2=>text(
"p",words2,{className:"note"}),button=(words2,onclick,options={})=>text(
"button",words2,{type:"button",onclick,...options}),
scrolled=(label,child)=>element("div",{className:"\
scroll",tabIndex:0,role:"region","aria-l\
abel":label},child);function choice(label,options,value,onchange){
let select=element("select",{onchange:()=>onchange(
select.value)});for(let[key,words2]of options){
let selected=String(key)===String(value);
select.append(text("option",words2,{value:key,
selected}))}return element("label",{className:"\
field"},text("span",label),select)}function segments(label,options,value,onchange){
let group=element("div",{className:"segm\
ents",role:"group","aria-label":label});
for(let[key,words2]of options){let made=button(
words2,()=>{for(let other of group.children)
other.setAttribute("aria-pressed",String(
other===made));onchange(key)},{"aria-pre\
ssed":String(key===value)});group.append(
made)}return group}function tick(label,value,onchange){
let box=element("input",{type:"checkbox",
checked:value,onchange:()=>onchange(box.
checked)});return element("label",{className:"\
tick"},box,text("span",label))}function unbroken(sentence){
return sentence.split(/(--[a-z-]+)/).map(
(part,i)=>i%2?text("span",part,{className:"\
option"}):part)}var Nearness=class{constructor(cloud,conditions,columns){
this.latent=cloud,this.numbers=[],this.categories=
[];let start2=0;for(let{name,categories,
shift,scale}of conditions){let size=categories.
length,kind=size?"category":"number",column=columns.
find(one=>one.name===name&&one.kind===kind);
if(column&&size)this.categories.push({start:start2,
size,values:numbersOf(column)});else if(column){
let values=Float32Array.from(numbersOf(column),
value=>(value-shift)/scale);this.numbers.
push({start:start2,values})}start2+=size||
1}this.cloud=this.numbers.length?this._widened():
cloud,this.groups=this.categories.length?
this._groups():null}nearest(z,context){let place=[
...Array.from(z),...this.numbers.map(({start:start2})=>context[start2])];
if(this.groups){let group=this._group(({
start:start2,size})=>context.subarray(start2,
start2+size).indexOf(1)),found2=this.cloud.
nearest(place,this.groups,group);if(found2.
index>=0)return found2}let found=this.cloud.
nearest(place);return found.index<0?this.
latent.nearest(z):found}strangeness(distance2){
return this.cloud.strangeness(distance2)}get limit(){
return this.cloud.limit}_widened(){let{count,
dim,means}=this.latent,width=dim+this.numbers.
length,places=new Float32Array(count*width);
for(let i=0;i<count;i++)places.set(means.
subarray(i*dim,(i+1)*dim),i*width),this.
numbers.forEach(({values},k)=>{places[i*
width+dim+k]=values[i]});return new Cloud(
places,width)}_groups(){return Int32Array.
from({length:this.latent.count},(_,i)=>this.
_group(({values})=>values[i]))}_group(categoryOf2){
return this.categories.reduce((group,one)=>group*
(one.size+1)+categoryOf2(one)+1,0)}};var counted=count=>count.toLocaleString(
"en"),Occupancy=class{constructor({rows,
few,low,high,step,cells,counts},conditions){
this.rows=rows,this.few=few,this.low=low,
this.high=high,this.step=step,this.cells=
cells,this.counts=counts,this.conditions=
conditions}values(context){let start2=0;
return this.conditions.map(({categories,
shift,scale})=>{let part=context.slice(start2,
start2+(categories.length||1));return start2+=
part.length,categories.length?part.indexOf(
1):part[0]*scale+shift})}cell(k,value){return this.
step[k]?Math.floor((value-this.low[k])/this.
step[k]+.5):value}near(values,places=values.
map((_,k)=>k)){let own=values.map((value,k)=>this.
cell(k,value)),reach2=this.step.map(step=>step?
1:0),isNear=cell=>places.every(k=>Math.abs(
cell[k]-own[k])<=reach2[k]);return this.
cells.reduce((sum,cell,i)=>isNear(cell)?
sum+this.counts[i]:sum,0)}isOutside(k,value){
let error=1e-5*(this.high[k]-this.low[k]);
return this.step[k]>0&&(value<this.low[k]-
error||value>this.high[k]+error)}remark(context){
let values=this.values(context),count=this.
near(values),outside=[...values.keys()].
filter(k=>this.isOutside(k,values[k]));if(!outside.
length&&count>=this.few)return"";let ranges=outside.
map(k=>this._range(k)).join(""),[near,all]=[
counted(count),counted(this.rows)],alone=this.
_alone(values);return count===1?ranges+t`${near} of ${all} training rows is near this condition${alone}: what is decoded is a guess.`:
ranges+t`${near} of ${all} training rows are near this condition${alone}: what is decoded is a guess.`}_range(k){
let{name}=this.conditions[k];return`${t`${name} lies outside the data, which go from ${shown(
this.low[k])} to ${shown(this.high[k])}.`}\
 `}_alone(values){if(values.length<2)return"";
let alone=this.conditions.map(({name},k)=>t`${counted(
this.near(values,[k]))} near ${name}`);return`\
; ${t`alone, ${alone.join(", ")}`}`}};var Validity=class{constructor({centres,
weights,bias,gamma}){this.dim=centres[0].
length,this.centres=Float64Array.from(centres.
flat()),this.weights=Float64Array.from(weights),
this.bias=bias,this.gamma=gamma}probability(z){
let{dim,centres,weights,gamma}=this,logit=this.
bias;for(let i=0,at=0;i<weights.length;i++){
let square=0;for(let k=0;k<dim;k++,at++)
square+=(z[k]-centres[at])**2;logit+=weights[i]*
Math.exp(-gamma*square)}return 1/(1+Math.
exp(-logit))}};var STATES=["feasible","infeasible","inv\
alid"],INVALID=2,Study=class _Study{constructor(contents,sheet,dim){
let{designs}=contents;this.contents=contents,
this.sheet=sheet,this.count=designs.count,
this.ids=designs.ids,this.cloud=new Cloud(
floatsOf(designs.means),dim),this.distance=
floatsOf(designs.distance),this.novelty=
floatsOf(designs.novelty),this.responses=
designs.columns.slice(0,designs.responses);
let{learned}=contents.validity;this.validity=
learned?new Validity(learned):null,this.
searches=contents.searches.map(({name,seeds,
low,median,high})=>({name,seeds,low:floatsOf(
low),median:floatsOf(median),high:floatsOf(
high)}))}static async of(contents,designs,dim){
return new _Study(contents,await designs.
examples(contents.designs),dim)}find(id){
return this.ids.indexOf(id)}spaceOf(i){let{
spaces,space}=this.contents.designs;return spaces[space[i]]}hasPlace(i){
return this.cloud.point(i).every(Number.
isFinite)}placeOf(i){let{isLatent,isRepaired}=this.
contents.designs;if(!this.hasPlace(i))return t`It has no place in the latent space.`;
if(!isLatent[i]){let space=this.spaceOf(
i);return t`It was looked for in ${space}: the point is where the encoder puts it, and decodes to a likeness.`}
return isRepaired[i]?t`The point is where it was proposed; what is decoded there was repaired before it was evaluated.`:
t`The point is where it was proposed, and decodes to it.`}};var ERROR="reconstruction error",keyOfRow=i=>`\
r:${i}`,keyOfDesign=id=>`d:${id}`;function itemOf(app,key){
let[kind,...rest]=key.split(":"),name=rest.
join(":");return kind==="d"?designOf(app,
key,name):rowOf(app,key,Number(name))}function rowOf({
world,contents},key,i){if(!Number.isInteger(
i)||i<0||i>=contents.rows.count)return null;
let{designs,examples,cloud,columns}=world;
return{key,name:rowName(contents.rows.names?.[i])??
t`row ${i}`,z:cloud.point(i),about:t`known design`,
draw:(context,box)=>examples.draw(context,
i,box),values:examples.values?designs.part(
examples.values,i):null,valueOf:name=>numberOf(
columns,name,i)}}function designOf({world},key,id){
let{designs,study}=world,i=study?.find(id)??
-1;if(i<0)return null;let{sheet,cloud,contents}=study;
return{key,name:id,z:cloud.point(i),about:say(
STATES[contents.designs.state[i]]),draw:(context,box)=>sheet.
draw(context,i,box),values:sheet.values?
designs.part(sheet.values,i):null,valueOf:name=>numberOf(
contents.designs.columns,name,i)}}function numberOf(columns,name,i){
let column=columns.find(one=>one.name===
name&&one.kind==="number");return column?
numbersOf(column)[i]:Number.NaN}function responsesOf({
study,columns,designs}){if(study)return study.
responses;let others=new Set([ERROR,...designs.
columns.map(({name})=>name)]);return columns.
filter(({name,kind})=>kind==="number"&&!others.
has(name))}var SHARES=[1,.5,.25,.1,.03],LEAST_GAIN=1e-4,
DIFFERENCE=.003,NEAR=.001;async function reach(measure,start2,target,box,tolerance,others=[]){
let ends=box.map(([low,high],k)=>[Math.min(
low,start2[k]),Math.max(high,start2[k])]),
places=[];for(let from of[start2,...others])
places.push(await search(measure,from,{start:start2,
target,ends,tolerance}));let gapOf=({value})=>Math.
abs(value-target),there=places.filter(place=>gapOf(
place)<=tolerance),best=there.length?leastOf(
there,({z})=>distance(z,start2)):leastOf(
places,gapOf);return{z:Float32Array.from(
best.z),value:best.value,isReached:there.
length>0}}async function search(measure,from,{
start:start2,target,ends,tolerance}){let width=Math.
max(...ends.map(([low,high])=>high-low)),
gapOf=({value})=>Math.abs(value-target),
at={z:Float64Array.from(from),value:(await measure(
from))[0]},weight=0;for(let step=0;step<
30;step++){let gradient=await gradientAt(
measure,at.z,DIFFERENCE*width),change=target-
at.value,next=nearestOnPlane(start2,at.z,
gradient,change,ends),straight=nearestOnPlane(
at.z,at.z,gradient,change,ends);if(gapOf(
at)<=tolerance&&distance(next.z,at.z)<NEAR*
width)break;weight=Math.max(weight,2*Math.
abs(next.factor));let costOf=place=>distance(
place.z,start2)**2/2+weight*gapOf(place),
places=await along(measure,at.z,[next.z,
straight.z]),best=leastOf(places,costOf),
nearest=leastOf(places,gapOf);if(costOf(
best)<costOf(at)*(1-LEAST_GAIN))at=best;else if(gapOf(
at)>tolerance&&gapOf(nearest)<gapOf(at)*
(1-LEAST_GAIN))at=nearest;else break}return at}
async function along(measure,z,ends){let points=ends.
flatMap(end=>SHARES.map(share=>z.map((from,k)=>from+
share*(end[k]-from)))),values=await measure(
Float32Array.from(points.flatMap(point2=>[
...point2])));return points.map((point2,i)=>({
z:point2,value:values[i]}))}var leastOf=(places,costOf)=>places.
reduce((best,place)=>costOf(place)<costOf(
best)?place:best);async function gradientAt(measure,z,h){
let dim=z.length,codes=new Float32Array(
2*dim*dim);for(let i=0;i<2*dim;i++)codes.
set(z,i*dim),codes[i*dim+(i>>1)]+=i%2?-h:
h;let values=await measure(codes);return Float64Array.
from(z,(_,k)=>(values[2*k]-values[2*k+1])/
(2*h))}function nearestOnPlane(start2,z,gradient,change,ends){
let at=t2=>z.map((_,k)=>Math.max(ends[k][0],
Math.min(ends[k][1],start2[k]+t2*gradient[k]))),
rest=p=>p.reduce((sum,value,k)=>sum+gradient[k]*
(value-z[k]),-change),square=gradient.reduce(
(sum,value)=>sum+value*value,0);if(!square)
return{z,factor:0};let first=rest(at(0)),
far=-first/square;for(let i=0;i<60&&rest(
at(far))*first>0;i++)far*=2;let near=0;for(let i=0;i<
60;i++){let middle=(near+far)/2;rest(at(
middle))*first>0?near=middle:far=middle}
return{z:at(far),factor:far}}var distance=(a,b)=>Math.
hypot(...Array.from(a,(value,k)=>value-b[k]));var STEPS=200,BINS=48,HISTOGRAM=26,MARGIN=8,
ALIKE=.05,OTHERS2=2,HINT="Choose a colum\
n or a response to see how the selected \
examples are spread in it. A drag over i\
t limits them to a range; a column can a\
lso be set.",called=name=>name===ERROR?say(
name):name,Limits=class{rows=[];_shown=null;_inside=void 0;_wanted=null;_start=null;constructor(app,host){
this.app=app,this.list=element("div",{className:"\
limits"}),this.more=element("div",{className:"\
limits-more"}),this.count=note(""),this.
count.setAttribute("role","status"),host.
append(this.list,this.more,this.count)}refresh(){
let{limits}=this.app.state,names=limits.
map(({name})=>name).join("|");names!==this.
_shown&&this._build(names);for(let row of this.
rows)this._showLimit(row);this._say(limits.
length>0)}_say(isLimited){let inside=isLimited?
this.app.inside():void 0;if(inside===this.
_inside&&this.count.textContent)return;this.
_inside=inside;let rows=this.app.world.cloud.
count,some=inside?.reduce((sum,one)=>sum+
one,0)??rows,words2=t`${some.toLocaleString(
"en")} of ${rows.toLocaleString("en")} examples are within all limits.`;
this.count.textContent=isLimited?words2:
say(HINT)}again(){this._shown=null}show(values){
for(let{quantity,decoded:decoded2,value}of this.
rows){if(!decoded2)continue;let now=values[quantity.
column];decoded2!==document.activeElement&&
(decoded2.value=String(now)),value.textContent=
this._words(quantity,now),decoded2.setAttribute(
"aria-valuetext",value.textContent)}}_build(names){
let{world,state}=this.app;this._shown=names;
let find=({name})=>world.quantities.find(
quantity=>quantity.name===name);this.rows=
state.limits.map(limit=>this._row(find(limit))),
this.list.replaceChildren(...this.rows.map(
row=>row.element));let chosen=new Set(state.
limits.map(({name})=>name)),rest=world.quantities.
filter(({name})=>!chosen.has(name)),options=rest.
map(({name,unit})=>[name,unit?`${called(
name)} [${unit}]`:called(name)]),wanted=rest[0]?.
name,choose=name=>{wanted=name},add=()=>{
this._set([...this.app.state.limits,{name:wanted,
low:null,high:null}]),this.rows.at(-1).from.
focus()},which=choice(t`Column`,options,
wanted,choose);this.more.replaceChildren(
...rest.length?[which,button(t`Add`,add)]:
[]),this.app.values&&this.show(this.app.
values)}_set(limits){this.app.set({limits}),
this.refresh()}_row(quantity){let{name,unit}=quantity,
extent2=extentOf(quantity.numbers),title=element(
"div",{className:"limit-name"},text("b",
called(name)),unit?text("small",` ${unit}`):
null),away2=button("×",()=>this._remove(
name),{className:"away","aria-label":t`Leave ${name} out`});
title.append(away2);let histogram=element(
"canvas",{"aria-hidden":"true"}),ends={type:"\
range",min:extent2[0],max:extent2[1],step:(extent2[1]-
extent2[0])/STEPS||1},from=element("inpu\
t",{...ends,value:extent2[0],"aria-label":t`${name}, from`}),
to=element("input",{...ends,value:extent2[1],
"aria-label":t`${name}, to`}),words2=element(
"div",{className:"limit-words"}),said=element(
"div",{className:"limit-said",role:"stat\
us"}),value=element("output"),decoded2=quantity.
column<0?null:this._slider(quantity,extent2),
frame=element("div",{className:"range"},
histogram,from,to),made=element("div",{className:"\
limit",role:"group","aria-label":name},title);
decoded2&&made.append(element("label",{className:"\
decoded"},text("span",t`decoded`),decoded2,
value),said),made.append(frame,words2);let row={
quantity,extent:extent2,element:made,histogram,
from,to,words:words2,decoded:decoded2,value,
said,counts:null,drawnOf:[]};return this.
_brush(row),from.addEventListener("input",
()=>this._limit(row,from)),to.addEventListener(
"input",()=>this._limit(row,to)),decoded2?.
addEventListener("input",()=>this._ask(row,
Number(decoded2.value))),decoded2?.addEventListener(
"change",()=>{this._start=null}),row}_slider({
name},[low,high]){let margin=.1*(high-low),
[min,max]=[low-margin,high+margin],step=(max-
min)/STEPS||1;return element("input",{type:"\
range",min,max,step,"aria-label":t`${name} of the decoded design`})}_remove(name){
this._set(this.app.state.limits.filter(limit=>limit.
name!==name))}_limit({quantity,extent:extent2,
from,to},moved){Number(from.value)>Number(
to.value)&&(moved===from?to.value=from.value:
from.value=to.value),this._between(quantity,
extent2,Number(from.value),Number(to.value))}_between(quantity,extent2,least,most){
let step=(extent2[1]-extent2[0])/STEPS,low=least<=
extent2[0]+step/2?null:least,high=most>=
extent2[1]-step/2?null:most,limits=this.
app.state.limits.map(limit=>limit.name===
quantity.name?{name:limit.name,low,high}:
limit);this._set(limits)}_showLimit(row){
let{quantity,extent:extent2,from,to,words:words2}=row,
{low,high}=this.app.state.limits.find(({
name})=>name===quantity.name);from!==document.
activeElement&&(from.value=String(low??extent2[0])),
to!==document.activeElement&&(to.value=String(
high??extent2[1])),from.setAttribute("ar\
ia-valuetext",this._words(quantity,low??
extent2[0])),to.setAttribute("aria-value\
text",this._words(quantity,high??extent2[1]));
let ends=[low??extent2[0],high??extent2[1]].
map(value=>shown(value)),isOpen2=low===null&&
high===null,range=t`${ends[0]} to ${ends[1]} ${quantity.
unit}`.trim();words2.textContent=isOpen2?
t`all examples: ${range}`:range,this._drawHistogram(
row)}_words({unit},value){return unit?`${shown(
value)} ${unit}`:shown(value)}_brush(row){
let{histogram,quantity,extent:extent2}=row,
start2=null,valueAt=event=>{let{left,width}=histogram.
getBoundingClientRect(),share=(event.clientX-
left-MARGIN)/(width-2*MARGIN);return extent2[0]+
Math.max(0,Math.min(1,share))*(extent2[1]-
extent2[0])};histogram.addEventListener(
"pointerdown",event=>{event.button===0&&
(histogram.setPointerCapture(event.pointerId),
start2=valueAt(event),this._between(quantity,
extent2,...extent2))}),histogram.addEventListener(
"pointermove",event=>{if(start2===null)return;
let end=valueAt(event);this._between(quantity,
extent2,Math.min(start2,end),Math.max(start2,
end))});for(let name of["pointerup","poi\
ntercancel"])histogram.addEventListener(
name,()=>{start2=null})}_drawHistogram(row){
let{quantity,extent:extent2,histogram}=row,
w=histogram.parentElement.clientWidth||280,
chosen=this.app.chosen(),drawnOf2=[w,chosen,
Theme.dark];if(drawnOf2.every((value,k)=>value===
row.drawnOf[k]))return;row.drawnOf=drawnOf2,
row.counts??=countsOf2(quantity.numbers,
extent2,null);let context=prepare(histogram,
w,HISTOGRAM),most=Math.max(...row.counts,
1),width=(w-2*MARGIN)/BINS;context.clearRect(
0,0,w,HISTOGRAM);let draw=(counts,colour)=>{
context.fillStyle=colour,counts.forEach(
(count,bin)=>{let height=Math.sqrt(count/
most)*(HISTOGRAM-2);context.fillRect(MARGIN+
bin*width,HISTOGRAM-height,Math.max(1,width-
1),height)})};chosen&&draw(row.counts,Theme.
colours.line),draw(chosen?countsOf2(quantity.
numbers,extent2,chosen):row.counts,Theme.
colours.accent)}async _ask(row,target){if(this.
_start??=this.app.state.z,this._wanted={
row,target,start:this._start},!this._busy){
this._busy=!0;try{for(;this._wanted;){let wanted=this.
_wanted;this._wanted=null,await this._reach(
wanted)}}catch(error){this.app.toast(t`The decoder failed: ${error.
message}`)}this._busy=!1}}async _reach({
row,target,start:start2}){let{app}=this,
{size}=app.world.designs,{column}=row.quantity,
measure=async codes=>{let values=await app.
decode(codes);return Float32Array.from({
length:values.length/size},(_,i)=>values[i*
size+column])},tolerance=(row.extent[1]-
row.extent[0])/1e3||1e-6,{ranges}=app.contents.
latents,others=this._likely(row,target,start2),
{z,value,isReached}=await reach(measure,
start2,target,ranges,tolerance,others);if(this.
_wanted)return;let[got,asked]=[value,target].
map(number=>this._words(row.quantity,number));
row.said.textContent=isReached?"":t`Reached ${got} of ${asked}: no point near here is nearer to it.`,
app.set({z})}_likely({quantity,extent:extent2},target,start2){
let{cloud}=this.app.world,reach2=ALIKE*(extent2[1]-
extent2[0]),alike=[...quantity.numbers.keys()].
filter(i=>Math.abs(quantity.numbers[i]-target)<=
reach2),squares=new Map(alike.map(i=>[i,
cloud.squared(i,start2)]));return alike.
sort((a,b)=>squares.get(a)-squares.get(b)),
alike.slice(0,OTHERS2).map(i=>cloud.point(
i))}};function countsOf2(numbers,[low,high],chosen){
let counts=new Float32Array(BINS),perUnit=BINS/
(high-low||1);for(let i=0;i<numbers.length;i++)
!Number.isFinite(numbers[i])||chosen&&!chosen[i]||
counts[Math.min(BINS-1,Math.floor((numbers[i]-
low)*perUnit))]++;return counts}function cellsOfPins(pins,labels,given,{
heads,rows}){let head=[...Array.from(pins[0],
(_,k)=>`z${k+1}`),"name","note",...given.
map(([name])=>name),...heads],lines=pins.
map((z,i)=>{let{name,note:note2}=labels[i]??
NO_LABEL;return[...Array.from(z,float32Text),
name,note2,...given.map(([,value])=>value),
...rows[i]??[]]});return[head,...lines]}
var NO_LABEL={name:"",note:""};function givenOf(conditions,context){
let start2=0;return conditions.map(({name,
categories,scale,shift})=>{let width=categories.
length||1,part=context.slice(start2,start2+
width);return start2+=width,categories.length?
[name,categories[part.indexOf(1)]??""]:[
name,float32Text(part[0]*scale+shift)]})}
function readPins(text2,dim){let[head=[],
...rows]=parsed(text2),axes=Array.from({
length:dim},(_,k)=>head.indexOf(`z${k+1}`));
if(axes.includes(-1)||head.includes(`z${dim+
1}`))throw new Error(`a file of pins mus\
t have the columns z1 to z${dim}, for th\
e model has ${dim} latents; it has ${head.
slice(0,6).join(", ")||"none"}. Choose a\
nother file, or write these columns.`);let[
name,note2]=[head.indexOf("name"),head.indexOf(
"note")];return rows.map((cells,i)=>{let z=Float32Array.
from(axes,at=>cells[at]?.trim()?Number(cells[at]):
Number.NaN);if(!z.every(Number.isFinite))
throw new Error(`line ${i+2} must have a\
 number in each of z1 to z${dim}; it has\
 not. Correct the file.`);return{z,label:{
name:cells[name]??"",note:cells[note2]??
""}}})}function parsed(text2){let rows=[],
row=[],cell=/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/gy,
plain2=text2.replace(/^\uFEFF/,"");for(;cell.
lastIndex<plain2.length;){let found=cell.
exec(plain2);if(!found)throw new Error("\
a file of pins must be comma-separated t\
ext; a quote in it has no end. Correct i\
t.");row.push(found[1]?.replaceAll('""',
'"')??found[2]),found[3]!==","&&(row.some(
value=>value!=="")&&rows.push(row),row=[])}
return row.length&&rows.push([...row,""]),
rows}var NONE2="Click the map, or press P, to\
 keep a point. Two pins make a morph.",KEPT="\
The address of the page holds the pins w\
ith names and notes: a bookmark or Copy \
link keeps them. Closing the page withou\
t one loses them; a file does not.",Pins=class{_key=null;at=0;_count=0;constructor(app,host){
this.app=app,this.list=element("ul",{className:"\
pins"}),this.title=element("span"),this.
name=this._field("input","Name"),this.note=
this._field("textarea","Note"),this.editor=
element("div",{className:"label-of",role:"\
group"},this.title,this.name,this.note),
this.file=element("input",{type:"file",accept:"\
.csv,text/csv",hidden:!0}),this.file.addEventListener(
"change",()=>this._load());let load=button(
t`Load pins`,()=>this.file.click(),{title:t`From a .csv file with columns z1, z2, …`});
this.saving=[button(t`Save pins`,()=>this.
_saveTable(),{title:t`All pins with names, notes and decoded columns, .csv`}),
button(t`Save designs`,()=>this._saveDesigns(),
{title:t`The decoded designs of all pins, .npy`})],
this.kept=note(say(KEPT));let actions=element(
"div",{className:"actions"},...this.saving,
load);host.append(this.list,this.editor,
actions,this.file,this.kept)}again(){this.
_key=null}async refresh(){let{app}=this,
{pins,context,labels}=app.state;pins.length>
this._count&&(this.at=pins.length-1),this.
_count=pins.length,this.at=Math.max(0,Math.
min(this.at,pins.length-1));for(let part of[
this.editor,this.kept,...this.saving])part.
hidden=!pins.length;this._showLabel();let key=[
...pins.map(z=>z.join(",")),context.join(
","),JSON.stringify(labels),this.at].join(
"~");if(key===this._key)return;if(this._key=
key,!pins.length){this.list.replaceChildren(
text("li",say(NONE2),{className:"note"}));
return}let values=await app.many(pins,()=>this.
_key===key);if(!values)return;let{designs}=app.
world,sheet=designs.sheet(values,pins.length),
focused=this.list.contains(document.activeElement)?
document.activeElement.getAttribute("ari\
a-label"):"",items=pins.map((z,i)=>{let{
w,h}=fitted(designs.aspect,52,52),picture=element(
"canvas",{"aria-hidden":"true"});return sheet.
draw(prepare(picture,w,h),i,{x:0,y:0,w,h}),
this._pin(z,i,picture)});this.list.replaceChildren(
...items);let again=Array.from(this.list.
querySelectorAll("button")).find(one=>one.
ariaLabel===focused);focused&&again?.focus()}_labelOf(i){
return this.app.state.labels[i]??NO_LABEL}_pin(z,i,picture){
let{app}=this,{name,note:words2}=this._labelOf(
i),to=t`Go to pin ${i+1}${name?`, ${name}`:
""}`,away2=t`Take pin ${i+1} away`,go=()=>{
this.at=i,app.set({z})},pressed=String(i===
this.at),pin=button("",go,{className:"pi\
n",title:words2||to,"aria-label":to,"ari\
a-pressed":pressed});pin.append(picture,
text("b",String(i+1)));let remove=button(
"×",()=>app.unpin(i),{className:"away",
title:away2,"aria-label":away2});return element(
"li",{},pin,remove,name?text("span",name,
{className:"pin-name"}):null)}_field(tag,label){
let part=label==="Name"?"name":"note",input=element(
tag,{placeholder:say(label),maxLength:part===
"name"?80:1e3,"aria-label":say(label)});
return input instanceof HTMLTextAreaElement&&
(input.rows=2),input.addEventListener("i\
nput",()=>this._write({[part]:input.value})),
input}_write(change){let{pins}=this.app.
state,labels=pins.map((_,i)=>this._labelOf(
i));labels[this.at]={...labels[this.at],
...change},this.app.set({labels,z:this.app.
state.z})}_showLabel(){let{name,note:words2}=this.
_labelOf(this.at);this.title.textContent=
t`Pin ${this.at+1}`,this.editor.setAttribute(
"aria-label",t`Name and note of pin ${this.
at+1}`),this.name.value!==name&&(this.name.
value=name),this.note.value!==words2&&(this.
note.value=words2)}async _saveTable(){let{
app}=this,{contents,state,world}=app,{pins,
labels,context}=state,{designs}=world,values=designs.
kind==="image"?null:await app.many(pins,
()=>!0),parts=pins.map((_,i)=>values?designs.
cells(designs.part(values,i)):[[],[]]),decoded2={
heads:parts[0][0],rows:parts.map(([,row])=>row)};
app.save(csvOf(cellsOfPins(pins,labels,givenOf(
contents.conditions,context),decoded2)),
"pins.csv")}async _saveDesigns(){let{app}=this,
{pins}=app.state,values=await app.many(pins,
()=>!0);app.save(npyOf(values,[pins.length,
...app.contents.event.shape]),"pins.npy")}async _load(){
let[file]=this.file.files;if(this.file.value=
"",!!file)try{this.add(readPins(await file.
text(),this.app.contents.latents.dim))}catch(error){
this.app.toast(t`The pins were not loaded: ${error.
message}`)}}add(found){let pins=[...this.
app.state.pins],labels=pins.map((_,i)=>this.
_labelOf(i)),left=0;for(let{z,label}of found){
let at=pins.findIndex(pin=>pin.every((value,k)=>Math.
abs(value-z[k])<1e-4));at>=0?labels[at]=
{name:label.name||labels[at].name,note:label.
note||labels[at].note}:pins.length>=MOST_PINS?
left+=1:(pins.push(z),labels.push(label))}
this.app.set({pins,labels});let loaded=t`${found.
length-left} of ${found.length} pins loaded`;
this.app.toast(left?`${loaded}; ${t`${left} left out, for the page keeps ${MOST_PINS}`}`:
loaded)}};var NEARNESS=["among the data","at the e\
dge of the data","far from all data: ext\
rapolated"],SPREAD=t`Standard deviation of p(x|z)`,
isNarrow=()=>matchMedia("(max-width: 760\
px)").matches,Panel=class{_toldOf=null;constructor(app,host){
this.app=app;let{occupancy,conditions,collapsed}=app.
contents,{kind}=app.world.designs;this.alone=
collapsed,this.occupancy=occupancy?new Occupancy(
occupancy,conditions):null,this.where=element(
"p",{className:"where"},element("i"),element(
"span")),this.caption=element("span"),this.
known=element("p",{className:"known"}),this.
valid=element("p",{className:"valid",hidden:!0}),
this.unseen=element("p",{className:"unse\
en",role:"status",hidden:!0}),this.now=element(
"div",{className:`now ${kind}`}),this.more=
element("div",{className:"more"}),host.append(
this.now,this.more),kind==="image"?this.
_buildImage():app.world.designs.lines?this.
_buildLine():this._buildTable(),this.now.
append(this.valid,this.unseen),this._buildMore()}_beside(...parts){
return this.alone?[]:parts}_buildImage(){
this.decoded=element("canvas",{role:"img",
"aria-label":t`The decoded design`}),this.
nearest=element("canvas",{role:"img","ar\
ia-label":t`The nearest real example`}),
this.short=element("span",{className:"co\
des-short"});let caption=element("figcap\
tion",{},text("b",t`Decoded`),this.short);
this.nearestTitle=text("b",t`Nearest example`);
let beside=element("figcaption",{},this.
nearestTitle,this.caption);this.now.append(
element("figure",{},this.decoded,caption),
...this._beside(element("figure",{},this.
nearest,beside)),this._buildSpread(),...this.
_beside(this.where,this.known))}_buildSpread(){
this.deviation=element("canvas",{role:"i\
mg","aria-label":t`${SPREAD} of every pixel`}),
this.most=element("span");let caption=element(
"figcaption",{},text("b",SPREAD),this.most);
return this.spreading=element("figure",{
hidden:!0},this.deviation,caption),this.
spreading}_buildLine(){let{kind}=this.app.
world.designs,what=this.alone?t`The decoded ${say(
kind)}`:t`The decoded ${say(kind)}, and the nearest real example`;
this.decoded=element("canvas",{role:"img",
"aria-label":what});let second=text("b",
t`Nearest example`,{className:"second"}),
first=text("b",t`Decoded`,{className:"fi\
rst"});this.now.append(element("p",{className:"\
keys-of"},first,...this._beside(second,this.
caption)),element("figure",{className:"w\
ide"},this.decoded),...this._beside(this.
where,this.known))}_buildTable(){let{designs}=this.
app.world;this.lines=designs.columns.map(
({name,full,unit})=>{let bar=element("i",
{className:"bar-of"}),mark=element("i",{
className:"mark-of"}),value=element("td",
{className:"number"}),near=element("td",
{className:"number near"}),small2=unit?text(
"small",` ${unit}`):null,track=element("\
span",{className:"track"},bar,mark),head=element(
"th",{scope:"row",title:full},text("span",
name),small2,track);return{bar,mark,value,
near,row:element("tr",{},head,value,...this.
_beside(near))}});let decoded2=text("th",
t`Decoded`,{scope:"col",className:"first\
 number"}),nearest=text("th",t`Nearest`,
{scope:"col",className:"second number"}),
heads=element("tr",{},text("th",t`Column`,
{scope:"col"}),decoded2,...this._beside(
nearest)),body=element("tbody",{},...this.
lines.map(({row})=>row)),table=element("\
table",{className:"design"},element("the\
ad",{},heads),body),keys=element("p",{className:"\
keys-of"},text("span",`${t`Nearest example`}\
 `),this.caption);this.now.append(scrolled(
t`The decoded row`,table),...this._beside(
keys,this.where,this.known))}show(z,values,deviations){
let{app}=this,{designs}=app.world,near=app.
nearest(z);this._showNearness(near),this.
_showValidity(z),designs.kind==="image"?
this._showImage(z,values,near.index,deviations):
designs.lines?this._showLine(values,near.
index,deviations):this._showRow(values,near.
index,deviations);for(let{k,value}of this.
codes)value.textContent=shown(z[k],.001);
this.limits?.show(values)}_showValidity(z){
let{study}=this.app.world;if(!study?.validity)
return;let{auc,answers}=study.contents.validity.
learned;this.valid.hidden=!1;let probability=t`Valid with probability ${study.
validity.probability(z).toFixed(2)}`,how=`\
 ${t`(AUC ${auc.mean.toFixed(2)} ± ${auc.
se.toFixed(2)} from ${answers} answers)`}`;
this.valid.replaceChildren(text("b",probability),
text("span",how))}_showNearness({index,distance:distance2}){
let name=this.app.nameOf(index);this.caption.
textContent=name?`${name}, ${away(distance2)}`:
away(distance2),this.known.textContent=this.
app.responsesOf(index),this.known.hidden=
!this.known.textContent;let strangeness=this.
app.world.nearness.strangeness(distance2),
level=[1,3].filter(limit=>strangeness>limit).
length;this.where.dataset.level=String(level),
this.where.lastChild.textContent=say(NEARNESS[level])}_showImage(z,values,near,spread){
let{designs,examples}=this.app.world,box=this.
_box();designs.sheet(values,1).draw(prepare(
this.decoded,box.w,box.h),0,box),this.alone||
examples.draw(prepare(this.nearest,box.w,
box.h),near,box),this.nearestTitle.textContent=
examples.isReal(near)?t`Nearest example`:
t`Nearest example, rebuilt`,this.short.textContent=
t`at (${this._short(z)})`,this.spreading.
hidden=!spread,spread&&this._showDeviation(
spread,box)}_showDeviation(spread,box){let{
designs}=this.app.world,most=spread.reduce(
(a,b)=>Math.max(a,b),0),area=designs.width*
designs.height,shares=spread.map((value,k)=>{
let channel=Math.floor(k/area),[low,high]=[
designs.lows[channel]??designs.low,designs.
highs[channel]??designs.high];return low+
value/(most||1)*(high-low)});designs.sheet(
shares,1).draw(prepare(this.deviation,box.
w,box.h),0,box),this.most.textContent=t`white: ${shown(
most)}`}_showLine(values,near,spread){let{
designs,examples}=this.app.world,w=this.
decoded.parentElement.clientWidth||300,h=designs.
lines.heightOf(w,isNarrow()?96:260),real=this.
alone?null:designs.part(examples.values,
near);designs.lines.plot(prepare(this.decoded,
w,h),values,real,{w,h},spread)}_showRow(values,near,spread){
let{designs,examples}=this.app.world,real=designs.
part(examples.values,near);this.lines.forEach(
(line,k)=>{let share=designs.share(k,designs.
tidy(k,values[k])),other=designs.share(k,
real[k]);line.bar.style.width=`${100*(share??
0)}%`,line.mark.style.left=`${100*(other??
0)}%`,line.mark.hidden=this.alone||other===
null;let isNumber=spread&&!designs.columns[k].
categories.length&&Number.isFinite(values[k]);
line.value.textContent=designs.text(k,values[k]),
isNumber&&line.value.append(text("small",
` ± ${shown(spread[k])}`)),line.near.textContent=
designs.text(k,real[k])})}_box(){let{aspect}=this.
app.world.designs,there=Math.floor(this.
decoded.parentElement.clientWidth||140),
w=isNarrow()?Math.round(76*Math.min(1,aspect)):
there;return{x:0,y:0,w,h:Math.round(w/aspect)}}_short(z){
let{order}=this.app.contents.latents,numbers=(z.
length>2?order.slice(0,2):[...z.keys()]).
map(k=>shown(z[k],.01)).join(", ");return z.
length>2?`${numbers}, …`:numbers}_buildMore(){
let{app}=this,{latents,conditions}=app.contents,
chosen=latents.order.slice(0,this.alone?
0:6).sort((a,b)=>a-b);app.decoder.hasSpread&&
this.more.append(tick(SPREAD,app.state.spread,
spread=>app.set({spread}))),this.codes=chosen.
map(k=>({k,value:element("dd")})),this.told=
element("div",{className:"told"});let saving=[
button(t`Save .npy`,()=>app.saveDesign("\
npy"),{title:t`The decoded design for NumPy`}),
button(t`Save .csv`,()=>app.saveDesign("\
csv"),{title:t`The decoded design as text`})];
if(this.alone)this.more.append(element("\
div",{className:"actions"},...saving));else{
let pin=button(t`Pin`,()=>app.pin(app.live),
{title:t`Keep this point (P)`}),near=button(
t`Go to example`,()=>app.toNearest(),{title:t`Move to the nearest real example (N)`}),
actions=element("div",{className:"action\
s"},pin,near,...saving);this.more.append(
text("h2",t`Point`),...this._codeList(),
actions)}if(conditions.length&&this.more.
append(text("h2",t`Condition`),this.told),
!this.alone){let pins=element("div");this.
more.append(text("h2",t`Pins`),pins),this.
pins=new Pins(app,pins)}if(this.limits=null,
this.alone||!app.world.quantities.length)
return;let limits=element("div");this.more.
append(text("h2",t`Columns and responses`),
limits),this.limits=new Limits(app,limits)}_codeList(){
let codes=this.codes.map(({k,value})=>element(
"div",{},text("dt",`z${k+1}`),value)),list2=element(
"dl",{className:"codes"},...codes),rest=this.
app.contents.latents.dim-codes.length;return rest>
0?[list2,note(t`and ${rest} more; see Sliders`)]:
[list2]}refresh(){this._showConditions(),
this._showUnseen(),this.pins?.refresh(),
this.limits?.refresh()}again(){this.pins?.
again(),this._toldOf=null,this.limits?.again()}_showConditions(){
let{state,contents}=this.app,key=state.context.
join(","),isHeld=this.told.contains(document.
activeElement);if(key===this._toldOf||!contents.
conditions.length||isHeld)return;this._toldOf=
key,this.told.replaceChildren();let start2=0;
for(let condition of contents.conditions){
let width=condition.categories.length||1,
make=condition.categories.length?this._categories:
this._number;this.told.append(make.call(
this,condition,start2)),start2+=width}}_change(values,start2){
let context=this.app.state.context.slice();
context.set(values,start2),this.app.set(
{context})}_categories({name,categories},start2){
let chosen=this.app.state.context.slice(
start2,start2+categories.length).indexOf(
1),options=categories.map((category,k)=>[
k,category]);return choice(name,options,
chosen,value=>{let oneHot=categories.map(
(_,k)=>k===Number(value)?1:0);this._change(
oneHot,start2)})}_number({name,range,scale,
shift,unit},start2){let[low,high]=range,
value=this.app.state.context[start2],output=element(
"output"),input=element("input",{type:"r\
ange",min:low,max:high,step:(high-low)/200||
1,value}),say2=number=>{let words2=shown(
number*scale+shift);output.textContent=unit?
`${words2} ${unit}`:words2,input.setAttribute(
"aria-valuetext",output.textContent)};return say2(
value),input.addEventListener("input",()=>{
say2(Number(input.value)),this._change([
Number(input.value)],start2)}),element("\
label",{className:"field"},text("span",name),
input,output)}_showUnseen(){let words2=this.
occupancy?.remark(this.app.state.context)??
"";this.unseen.textContent!==words2&&(this.
unseen.textContent=words2),this.unseen.hidden=
!words2,this.where.classList.toggle("bes\
ide",!!words2)}};async function pictureOfPage(view){let main=document.
querySelector("main"),{width,height}=main.
getBoundingClientRect(),body=document.createElement(
"body");body.dataset.view=view,body.append(
copyOf(main));let picture=new Image;picture.
src=`data:image/svg+xml;charset=utf-8,${encodeURIComponent(
svgOf(body,width,height))}`,await picture.
decode();let canvas=element("canvas",{width:2*
width,height:2*height}),context=canvas.getContext(
"2d");return context.fillStyle=Theme.colours.
paper,context.fillRect(0,0,canvas.width,
canvas.height),context.drawImage(picture,
0,0,canvas.width,canvas.height),await new Promise(
resolve=>canvas.toBlob(resolve,"image/pn\
g"))}function svgOf(body,width,height){let style=document.
querySelector("style").textContent.replaceAll(
"&","&amp;").replaceAll("<","&lt;"),size=`\
width="${width}" height="${height}"`,theme=Theme.
dark?"dark":"light",inside=`<foreignObje\
ct width="100%" height="100%">${new XMLSerializer().
serializeToString(body)}</foreignObject>`;
return`${`<svg xmlns="http://www.w3.org/\
2000/svg" ${size} data-theme="${theme}">`}\
<style>${style}</style>${inside}</svg>`}
function copyOf(main){let copy=main.cloneNode(
!0),wanted="canvas, select, input",after=copy.
querySelectorAll(wanted);return main.querySelectorAll(
wanted).forEach((node,i)=>{node instanceof
HTMLCanvasElement?after[i].replaceWith(imageOf(
node)):node instanceof HTMLSelectElement?
after[i].replaceWith(chosenOf(node)):node instanceof
HTMLInputElement&&(after[i].setAttribute(
"value",node.value),node.checked&&after[i].
setAttribute("checked",""))}),copy}function imageOf(canvas){
let{className,clientWidth:width,clientHeight:height}=canvas,
picture=element("img",{src:canvas.toDataURL(),
className,width,height});return picture.
style.cssText=canvas.style.cssText,picture}
function chosenOf(select){return element(
"span",{className:"chosen",textContent:select.
selectedOptions[0]?.textContent??""})}var A=[-39.69683028665376,220.9460984245205,
-275.9285104469687,138.357751867269,-30.66479806614716,
2.506628277459239],B=[-54.47609879822406,
161.5858368580409,-155.6989798598866,66.80131188771972,
-13.28068155288572,1],C=[-.007784894002430293,
-.3223964580411365,-2.400758277161838,-2.549732539343734,
4.374664141464968,2.938163982698783],D=[
.007784695709041462,.3224671290700398,2.445134137142996,
3.754408661907416,1],polynomial=(coefficients,x)=>coefficients.
reduce((sum,value)=>sum*x+value,0);function normalQuantile(share){
if(share>.97575)return-normalQuantile(1-
share);if(share<.02425){let x2=Math.sqrt(
-2*Math.log(share));return polynomial(C,
x2)/polynomial(D,x2)}let x=share-.5;return x*
polynomial(A,x*x)/polynomial(B,x*x)}function uniforms(seed){
let state=seed>>>0;return()=>{state=state+
1831565813>>>0;let t2=state;return t2=Math.
imul(t2^t2>>>15,t2|1),t2^=t2+Math.imul(t2^
t2>>>7,t2|61),(((t2^t2>>>14)>>>0)+.5)/4294967296}}
function normals(count,seed){let next=uniforms(
seed);return Float32Array.from({length:count},
()=>normalQuantile(next()))}function shuffled(count){
let next=uniforms(1),order=Array.from({length:count},
(_,i)=>i);for(let i=count-1;i>0;i--){let j=Math.
floor(next()*(i+1));[order[i],order[j]]=
[order[j],order[i]]}return order}var MOST_KEPT=400,Thumbnails=class{_made=new Map;constructor(draw,rows,count,rebuilt,ready){
this.inPage=draw,this.rebuilt=rebuilt,this.
ready=ready,this.places=rows?new Int32Array(
count).fill(-1):null,rows?.forEach((i,at)=>{
this.places[i]=at})}isReal(i){return!this.
places||this.places[i]>=0}draw(context,i,box){
if(this.isReal(i)){this.inPage(context,this.
places?this.places[i]:i,box);return}let sheet=this.
_sheetOf(i);sheet?sheet.draw(context,0,box):
(context.fillStyle=Theme.colours.panel,context.
fillRect(box.x,box.y,box.w,box.h))}_sheetOf(i){
if(this._made.has(i))return this._made.get(
i);this._made.size>=MOST_KEPT&&this._made.
clear();let made=this.rebuilt(i);return made instanceof
Promise?(this._made.set(i,null),made.then(
sheet=>{this._made.set(i,sheet),this.ready()}),
null):(this._made.set(i,made),made)}};function contextOf(conditions,columns,i){
let context=[];for(let{name,categories,shift,
scale}of conditions){let kind=categories.
length?"category":"number",column=columns.
find(one=>one.name===name&&one.kind===kind);
if(!column)return null;let value=numbersOf(
column)[i];categories.length?context.push(
...categories.map((_,k)=>k===value?1:0)):
context.push((value-shift)/scale)}return Float32Array.
from(context)}var KEPT2="variform-tour",GAP=12,STEPS2=[
{view:"map",at:"#view .map-place",title:"\
The map",words:"Each mark is one of the \
examples. Those that the model finds ali\
ke lie close together. Move the pointer \
over the map, or tap it."},{view:"map",at:"\
#design .now",title:"The design at the p\
oint",words:"Every place of the map stan\
ds for a design. The one at the point is\
 shown here, beside the nearest real exa\
mple."},{view:"map",at:"#view .field",begins:"\
Colour",title:"Colours",words:"Choose by\
 what the marks are coloured. Neighbours\
 of one colour say that the map has foun\
d what you look for."},{view:"map",at:"#\
view .tick",begins:"Fog",title:"Fog",words:"\
Fog lies where there are no examples. Wh\
at is shown there is a guess: be careful\
 with it. Here it is turned off."},{view:"\
map",at:"#view .zooms",title:"Nearer",words:"\
Zoom with these, with the wheel, or with\
 two fingers. Drag the map to move it."},
{view:"map",at:"#view .search",title:"Fi\
nd an example",words:"Type a name, a lab\
el or the number of a row, and choose fr\
om the list: the point goes there."},{view:"\
map",at:"#design .actions",title:"Keep w\
hat you like",words:"Pin keeps the desig\
n at the point; so does a click on the m\
ap. The other buttons save it as a file."},
{view:"sliders",at:"#view .slider",title:"\
Sliders",words:"Each slider moves one th\
ing that the model has learned, and its \
strip shows what that changes. Pull one."},
{view:"morph",at:"#view .player",title:"\
Morphs",words:"From one pin to another, \
step by step. Press Play and watch one d\
esign become the other."},{view:"numbers",
at:"#view .scroll",title:"How good is it\
?",words:"The model beside simpler ones,\
 on examples that it has not seen. The ?\
 above lists all keys. That is all: expl\
ore."}];function wasOffered(){try{return localStorage.
getItem(KEPT2)!==null}catch{return!1}}function remember(){
try{localStorage.setItem(KEPT2,"offered")}catch{}}
var Tour=class{_card=null;_shown=null;_at=0;constructor(app,tools){
this.app=app,this.steps=STEPS2.filter(({
view})=>app.views.some(({key})=>key===view)),
this.starter=button(t`Tour`,()=>this.start(),
{title:t`What to do with this page, step by step`}),
tools.prepend(this.starter),wasOffered()||
this._offer(tools),this._place=()=>this.
_placeCard()}_offer(tools){let decline=()=>{
remember(),offer.remove(),this.starter.focus()},
accept=button(t`Take the tour`,()=>this.
start(),{className:"accept"}),offer=element(
"p",{className:"offer"},text("span",t`New here?`),
accept,button(t`No, thanks`,decline));this.
offer=offer,tools.prepend(offer)}start(){
remember(),this.offer?.remove(),this._card?.
remove(),this.title=text("h2","",{id:"to\
ur-title"}),this.words=text("p","",{id:"\
tour-words","aria-live":"polite"}),this.
count=text("span","",{className:"pages"}),
this.back=button(t`Back`,()=>this._go(-1)),
this.next=button(t`Next`,()=>this._go(1),
{className:"accept"});let end=button("×",
()=>this.end(),{className:"away","aria-l\
abel":t`End the tour`}),buttons=element(
"div",{className:"bar"},this.back,this.next,
this.count);this._card=element("div",{className:"\
tour"},this.title,this.words,buttons,end),
this._card.setAttribute("role","dialog"),
this._card.setAttribute("aria-labelledby",
"tour-title"),this._card.setAttribute("a\
ria-describedby","tour-words"),this._card.
addEventListener("keydown",event=>this._key(
event)),document.body.append(this._card),
addEventListener("resize",this._place),addEventListener(
"scroll",this._place,{passive:!0}),this.
_at=-1,this._go(1)}end(){this._card.remove(),
this._card=null,this._point(null),removeEventListener(
"resize",this._place),removeEventListener(
"scroll",this._place),this.starter.focus()}_key(event){
if(event.key==="Escape")this.end();else if(event.
key==="ArrowRight")this._go(1);else if(event.
key==="ArrowLeft")this._go(-1);else return;
event.preventDefault(),event.stopPropagation()}_go(step){
let at=this._at+step;if(at>=this.steps.length)
return this.end();if(at<0)return;let{view,
at:where,begins="",title,words:words2}=this.
steps[at];this.app.state.view!==view&&this.
app.open(view);let control=[...document.
querySelectorAll(where)].find(one=>one.textContent.
startsWith(say(begins)));if(!control)return this.
steps.splice(at,1),step<0?this._go(-1):(this.
_at=at-1,this._go(1));this._at=at,this.title.
textContent=say(title),this.words.textContent=
say(words2),this.count.textContent=t`${at+
1} of ${this.steps.length}`,this.back.disabled=
at===0,this.next.textContent=at+1===this.
steps.length?t`Done`:t`Next`,this._point(
control),this.next.focus({preventScroll:!0})}_point(control){
this._shown?.classList.remove("toured"),
this._shown=control,control&&(control.classList.
add("toured"),control.scrollIntoView({block:"\
center",inline:"nearest"}),this._placeCard())}_placeCard(){
if(!this._card||!this._shown)return;let frame=this.
_shown.getBoundingClientRect(),{offsetWidth:w,
offsetHeight:h}=this._card,below=frame.bottom+
GAP,above=frame.top-GAP-h,top=innerHeight-
h-GAP;below+h<innerHeight?top=below:above>
0&&(top=above);let left=Math.max(GAP,Math.
min(innerWidth-w-GAP,frame.left));this._card.
style.top=`${top}px`,this._card.style.left=
`${left}px`}};var Plain=class{_key=null;_table=null;constructor(){
this.canvas=document.createElement("canv\
as")}paint(drawn,place){let{w,h,radius}=place,
key=[w,h,radius].join("|");return key!==
this._key&&this._measure(w,h,radius),(key!==
this._key||drawn.table!==this._table)&&this.
_mix(drawn.table),this._key=key,this._table=
drawn.table,this.pixels.fill(0),this._splat(
drawn,place),this._show(w,h),this.canvas}_measure(w,h,radius){
let reach2=Math.ceil(radius+.5)+1;this.margin=
reach2,this.width=w+2*reach2,this.pixels=
new Int32Array(this.width*(h+2*reach2));
let offsets=[],shares=[];this.starts=new Int32Array(
17);for(let part=0;part<16;part++){let x0=(part%
4+.5)/4,y0=(Math.floor(part/4)+.5)/4;for(let y=-reach2;y<=
reach2;y++)for(let x=-reach2;x<=reach2;x++){
let share=Math.max(0,Math.min(1,radius+.5-
Math.hypot(x+.5-x0,y+.5-y0)));share<1/255||
(offsets.push(y*this.width+x),shares.push(
share))}this.starts[part+1]=offsets.length}
this.offsets=Int32Array.from(offsets),this.
shares=Float32Array.from(shares),(this.canvas.
width!==w||this.canvas.height!==h)&&Object.
assign(this.canvas,{width:w,height:h}),this.
picture=new ImageData(w,h),this.shown=new Int32Array(
this.picture.data.buffer)}_mix(table){let{
length:length2}=this.offsets;this.inks=new Int32Array(
length2*table.length),table.forEach(([red,
green,blue,opacity],colour)=>{for(let at=0;at<
length2;at++){let alpha=this.shares[at]*
opacity,[r,g,b]=[red,green,blue].map(value=>Math.
round(value*alpha));this.inks[colour*length2+
at]=Math.round(255*alpha)<<24|b<<16|g<<8|
r}})}_splat({xy,colours:colours2},{w,h,left,
top,scale}){let{pixels,offsets,starts,inks,
width,margin}=this,{length:length2}=offsets;
for(let i=colours2.length-1;i>=0;i--){let x=Math.
floor((left+xy[2*i]*scale)*4),y=Math.floor(
(top-xy[2*i+1]*scale)*4);if(!(x>=0&&y>=0&&
x<4*w&&y<4*h))continue;let base=(Math.floor(
y/4)+margin)*width+Math.floor(x/4)+margin,
part=y%4*4+x%4,ink=colours2[i]*length2;for(let at=starts[part];at<
starts[part+1];at++){let pixel=base+offsets[at],
under=pixels[pixel],left2=255-(under>>>24);
left2<=3||(pixels[pixel]=under+shaded(inks[ink+
at],left2+1)|0)}}}_show(w,h){let{pixels,
shown:shown2,width,margin}=this;for(let row=0;row<
h;row++){let from=(row+margin)*width+margin;
for(let to=row*w;to<(row+1)*w;to++,from++){
let pixel=pixels[from],alpha=pixel>>>24;
shown2[to]=alpha===0||alpha===255?pixel:
divided(pixel,alpha)}}this.canvas.getContext(
"2d").putImageData(this.picture,0,0)}},shaded=(colour,share)=>Math.
imul(colour>>>8&16711935,share)&-16711936|
Math.imul(colour&16711935,share)>>>8&16711935;
function divided(pixel,alpha){let factor=255/
alpha,red=Math.min(255,(pixel&255)*factor+
.5),green=Math.min(255,(pixel>>>8&255)*factor+
.5),blue=Math.min(255,(pixel>>>16&255)*factor+
.5);return alpha<<24|blue<<16|green<<8|red}var VERTICES=`
attribute vec2 place;
attribute vec4 colour;
uniform vec4 frame; // left, top, scale,\
 radius
uniform vec2 size;
varying highp vec2 middle;
varying lowp vec4 ink;
void main() {
  vec2 pixel = vec2(frame.x + place.x * \
frame.z, frame.y - place.y * frame.z);
  pixel = (floor(pixel * ${4}.0) + 0.5) \
/ ${4}.0;
  gl_Position = vec4(2.0 * pixel.x / siz\
e.x - 1.0, 1.0 - 2.0 * pixel.y / size.y,\
 0.0, 1.0);
  gl_PointSize = 2.0 * ceil(frame.w + 1.\
5);
  middle = vec2(pixel.x, size.y - pixel.\
y);
  ink = colour;
}`,PIXELS=`
precision highp float;
uniform vec4 frame;
varying highp vec2 middle;
varying lowp vec4 ink;
void main() {
  float share = clamp(frame.w + 0.5 - di\
stance(gl_FragCoord.xy, middle), 0.0, 1.\
0) * ink.a;
  gl_FragColor = vec4(ink.rgb * share, s\
hare);
}`,Gpu=class _Gpu{_drawn=null;constructor(canvas,gl,program){
this.canvas=canvas,this.gl=gl,this.frame=
gl.getUniformLocation(program,"frame"),this.
size=gl.getUniformLocation(program,"size"),
this.places=this._buffer(program,"place",
2,gl.FLOAT),this.inks=this._buffer(program,
"colour",4,gl.UNSIGNED_BYTE),gl.useProgram(
program),gl.enable(gl.BLEND),gl.blendFunc(
gl.ONE,gl.ONE_MINUS_SRC_ALPHA)}static made(){
let canvas=document.createElement("canva\
s"),options={antialias:!1,depth:!1,preserveDrawingBuffer:!0},
gl=canvas.getContext("webgl",options);if(!gl)
return null;let program=gl.createProgram();
for(let[kind,source]of[[gl.VERTEX_SHADER,
VERTICES],[gl.FRAGMENT_SHADER,PIXELS]]){
let shader=gl.createShader(kind);gl.shaderSource(
shader,source),gl.compileShader(shader),
gl.attachShader(program,shader)}return gl.
linkProgram(program),gl.getProgramParameter(
program,gl.LINK_STATUS)?new _Gpu(canvas,
gl,program):null}_buffer(program,name,size,type){
let{gl}=this,buffer=gl.createBuffer(),location2=gl.
getAttribLocation(program,name);return gl.
bindBuffer(gl.ARRAY_BUFFER,buffer),gl.enableVertexAttribArray(
location2),gl.vertexAttribPointer(location2,
size,type,type===gl.UNSIGNED_BYTE,0,0),buffer}paint(drawn,{
w,h,left,top,scale,radius}){let{gl,canvas}=this;
return gl.isContextLost()?null:((canvas.
width!==w||canvas.height!==h)&&Object.assign(
canvas,{width:w,height:h}),drawn!==this.
_drawn&&this._hand(drawn),gl.viewport(0,
0,w,h),gl.uniform4f(this.frame,left,top,
scale,radius),gl.uniform2f(this.size,w,h),
gl.clear(gl.COLOR_BUFFER_BIT),gl.drawArrays(
gl.POINTS,0,drawn.colours.length),canvas)}_hand(drawn){
let{gl}=this,table=Uint8Array.from(drawn.
table.flatMap(([r,g,b,opacity])=>[r,g,b,
Math.round(255*opacity)])),inks=new Uint8Array(
4*drawn.colours.length);drawn.colours.forEach(
(colour,i)=>{for(let k=0;k<4;k++)inks[4*
i+k]=table[4*colour+k]}),gl.bindBuffer(gl.
ARRAY_BUFFER,this.places),gl.bufferData(
gl.ARRAY_BUFFER,drawn.xy,gl.STATIC_DRAW),
gl.bindBuffer(gl.ARRAY_BUFFER,this.inks),
gl.bufferData(gl.ARRAY_BUFFER,inks,gl.STATIC_DRAW),
this._drawn=drawn}get isSoftware(){let{gl}=this,
names=gl.getExtension("WEBGL_debug_rende\
rer_info"),name=gl.getParameter(names?names.
UNMASKED_RENDERER_WEBGL:gl.RENDERER);return/swiftshader|llvmpipe|softpipe|software|basic render/i.
test(name)}finish(){let{gl}=this;gl.readPixels(
0,0,1,1,gl.RGBA,gl.UNSIGNED_BYTE,new Uint8Array(
4))}};var OPACITY=.8,FAINT=.12,SLOW=12,WARM=4,
REST=4,SETTLED=90,MARGIN2=.12;function drawnOf(points,places,shades,stands){
let count=points.length/2,xy=new Float32Array(
2*count),colours2=new Uint16Array(count),
at=0;for(let isOut of stands?[0,1]:[1])for(let i=0;i<
count;i++)stands&&stands[i]!==isOut||Number.
isFinite(points[2*i])&&(xy[2*at]=points[2*
i],xy[2*at+1]=points[2*i+1],colours2[at]=
(places?.[i]??0)+(isOut?shades.length:0),
at++);let coloured=opacity=>shades.map(shade=>[
...partsOf(shade),opacity]),table=[...coloured(
FAINT),...coloured(OPACITY)];return{xy:xy.
subarray(0,2*at),colours:colours2.subarray(
0,at),table}}var Dots=class{wanted="auto";_last=null;_least=1/0;_slow=0;painted=0;constructor(again=()=>{}){
this.again=again,this.plain=new Plain,this.
gpu=null,this.painter="plain"}paint(drawn,place){
clearTimeout(this._waiting);let last=this.
_last,isSlow=this.wanted==="auto"&&last!==
null&&last.took>SLOW;if(isSlow&&last.drawn===
drawn&&last.place.wide===place.w+place.h&&
performance.now()<last.end+REST*last.took)
return this._waiting=setTimeout(this.again,
SETTLED),{canvas:last.canvas,place:last.
place,isExact:!1};let begin=performance.
now(),margin=isSlow?Math.round(MARGIN2*Math.
max(place.w,place.h)):0,wider=withMargin(
place,margin),canvas=this._exactly(drawn,
wider),end=performance.now();return this.
painted++,this._last={drawn,canvas,place:wider,
took:end-begin,end},{canvas,place:wider,
isExact:!0}}_exactly(drawn,place){let made=this.
wanted==="webgl"||this.wanted==="auto"&&
this.painter==="webgl"?this._byGpu(drawn,
place):null;if(made)return made;this.painter=
"plain";let begin=performance.now(),canvas=this.
plain.paint(drawn,place),took=performance.
now()-begin;return this._least=Math.min(
this._least,took),took>SLOW&&++this._slow===
WARM&&this.wanted==="auto"&&this._compare(
drawn,place),canvas}_compare(drawn,place){
if(this.gpu=Gpu.made(),!this.gpu||this.gpu.
isSoftware)return;let least=1/0;for(let round=0;round<
WARM;round++){let begin=performance.now();
if(!this.gpu.paint(drawn,place))return;this.
gpu.finish(),least=Math.min(least,performance.
now()-begin)}2*least<this._least&&(this.
painter="webgl")}_byGpu(drawn,place){this.
gpu??=Gpu.made();let canvas=this.gpu?.paint(
drawn,place)??null;return canvas&&(this.
painter="webgl"),canvas}};function withMargin(place,margin){
let{w,h,left,top}=place;return{...place,
w:w+2*margin,h:h+2*margin,left:left+margin,
top:top+margin,wide:w+h}}var Gestures=class{_fingers=new Map;_press=null;_isPinch=!1;constructor(surface,on){
this.surface=surface,this.on=on;let isMouse=event=>event.
pointerType==="mouse";surface.addEventListener(
"pointerdown",event=>{surface.focus({preventScroll:!0}),
isMouse(event)?this._pressed(event):this.
_fingerDown(event)}),surface.addEventListener(
"pointermove",event=>{isMouse(event)?this.
_mouseMoved(event):(event.buttons||this.
_fingers.has(event.pointerId))&&this._fingerMoved(
event)}),surface.addEventListener("point\
erup",event=>{event.button===0&&(isMouse(
event)?this._released(event):this._fingerUp(
event))}),surface.addEventListener("poin\
terleave",event=>{isMouse(event)&&on.leave()}),
surface.addEventListener("pointercancel",
event=>this._cancelled(event)),on.zoom&&
this._listenToZoom()}_listenToZoom(){let{
surface,on}=this;surface.addEventListener(
"wheel",event=>this._wheel(event),{passive:!1}),
surface.addEventListener("dblclick",()=>on.
whole());let touched=event=>{(event.touches.
length>1||this._tool!=="move")&&event.cancelable&&
event.preventDefault()};surface.addEventListener(
"touchstart",touched,{passive:!1}),surface.
addEventListener("touchmove",touched,{passive:!1})}get _tool(){
return this.on.tool?.()??"move"}_place(event){
let frame=this.surface.getBoundingClientRect();
return[event.clientX-frame.left,event.clientY-
frame.top]}_pressed(event){if(event.button!==
0||!this.on.zoom)return;this.surface.setPointerCapture(
event.pointerId);let tool=event.shiftKey&&
this._tool==="move"?"rectangle":this._tool;
this._press={way:[this._place(event)],hasMoved:!1,
tool},tool!=="move"&&event.preventDefault()}_mouseMoved(event){
let place=this._place(event);this._press?
this._dragged(place):this.on.hover(place,
!1)}_dragged(place){let{way,tool}=this._press,
[from,last]=[way[0],way.at(-1)];this._press.
hasMoved||=Math.hypot(place[0]-from[0],place[1]-
from[1])>4,this._press.hasMoved&&(way.push(
place),tool==="move"?this.on.pan(place[0]-
last[0],place[1]-last[1]):this.on.draw(way,
tool))}_released(event){let place=this._place(
event),press=this._press;this._press=null,
press?.hasMoved?press.tool!=="move"&&this.
on.select([...press.way,place],press.tool):
this.on.click(place)}_fingerDown(event){
let place=this._place(event);this._fingers.
set(event.pointerId,place),this._fingers.
size>1&&this.on.zoom?(this._isPinch=!0,this.
_press=null,this.on.draw?.([],this._tool),
this.on.leave()):this._tool!=="move"?this.
_press={way:[place],hasMoved:!1,tool:this.
_tool}:this.on.hover(place,!0)}_fingerMoved(event){
let place=this._place(event),before=[...this.
_fingers.values()];if(this._fingers.set(
event.pointerId,place),this._press)return this.
_dragged(place);if(!this._isPinch)return this.
on.hover(place,!0);if(before.length!==2)
return;let[from,to]=[spanOf(before),spanOf(
[...this._fingers.values()])];this.on.zoom(
to.length/(from.length||1),from.middle),
this.on.pan(to.middle[0]-from.middle[0],
to.middle[1]-from.middle[1])}_fingerUp(event){
let wasPinch=this._isPinch,press=this._press;
this._press=null,this._lift(event),press?.
hasMoved?this.on.select([...press.way,this.
_place(event)],press.tool):wasPinch||this.
on.tap(this._place(event))}_cancelled(event){
this._press=null,this.on.draw?.([],this.
_tool),this._lift(event),this.on.leave()}_lift(event){
this._fingers.delete(event.pointerId),this.
_fingers.size||(this._isPinch=!1)}_wheel(event){
if(event.deltaY>0&&this.on.isWhole())return;
event.preventDefault();let pixels=event.
deltaY*(event.deltaMode?16:1),delta=Math.
max(-200,Math.min(200,pixels));this.on.zoom(
Math.exp(-delta*(event.ctrlKey?.01:.002)),
this._place(event))}};function spanOf([a,
b]){let middle=[(a[0]+b[0])/2,(a[1]+b[1])/
2];return{length:Math.hypot(a[0]-b[0],a[1]-
b[1]),middle}}var SIZE=4.5;function drawDesigns(context,study,where){
let{state}=study.contents.designs;for(let drawn=INVALID;drawn>=
0;drawn--)for(let i=0;i<study.count;i++)
state[i]===drawn&&study.hasPlace(i)&&drawMark(
context,drawn,where(study.cloud.point(i)))}
function drawMark(context,state,[x,y]){let{
second,card,ink}=Theme.colours;if(context.
beginPath(),state===INVALID){for(let side of[
-1,1])context.moveTo(x-SIZE+1,y-side*(SIZE-
1)),context.lineTo(x+SIZE-1,y+side*(SIZE-
1));stroked(context,card,3.5),stroked(context,
ink,1.5);return}context.moveTo(x,y-SIZE);
for(let[dx,dy]of[[SIZE,0],[0,SIZE],[-SIZE,
0]])context.lineTo(x+dx,y+dy);if(context.
closePath(),state>0){stroked(context,card,
2.5),stroked(context,second,1);return}context.
fillStyle=second,context.fill(),stroked(
context,card,1)}function stroked(context,colour,width){
context.strokeStyle=colour,context.lineWidth=
width,context.stroke()}function keyOfMarks(study){
let{name,designs}=study.contents,made=element(
"p",{className:"marks"},text("span",t`Evaluated designs of ${name}:`));
return STATES.forEach((words2,state)=>{let count=designs.
state.filter(one=>one===state).length,mark=element(
"canvas",{"aria-hidden":"true"});drawMark(
prepare(mark,12,12),state,[6,6]),made.append(
element("span",{},mark,` ${say(words2)} \
(${count.toLocaleString("en")})`))}),made}var PICTURE2=96,MOST_FACTS=8,OFF=12,Tooltip=class{constructor(host,examples,aspect){
this.host=host,this.examples=examples,this.
size=fitted(aspect,PICTURE2,PICTURE2),this.
at=-1,this.x=0,this.y=0,this.picture=element(
"canvas",{"aria-hidden":"true"}),this.words=
element("div"),this.box=element("div",{className:"\
tip",role:"tooltip",hidden:!0},this.picture,
this.words),host.append(this.box)}show(i,describe,[
x,y]){if(i===this.at&&x===this.x&&y===this.
y)return;i!==this.at&&this._fill(i,describe(
i)),Object.assign(this,{at:i,x,y}),this.
box.hidden=!1;let{offsetWidth:w,offsetHeight:h}=this.
box,{clientWidth,clientHeight}=this.host,
left=x+OFF+w<clientWidth?x+OFF:x-OFF-w;this.
box.style.left=`${Math.max(4,left)}px`,this.
box.style.top=`${Math.max(4,Math.min(clientHeight-
h-4,y-h/2))}px`}hide(){this.at=-1,this.box.
hidden=!0}_fill(i,{name,facts}){let{w,h}=this.
size;this.examples.draw(prepare(this.picture,
w,h),i,{x:0,y:0,w,h});let known=facts.slice(
0,MOST_FACTS).map(([what,words2])=>element(
"div",{},text("dt",what),text("dd",words2))),
title=this.examples.isReal(i)?name:t`${name}, rebuilt`;
this.words.replaceChildren(text("b",title),
element("dl",{},...known))}};var TURN=2*Math.PI,FOG=96,FINER=4,REACH={
mouse:9,touch:20},AXES={left:35,bottom:23},
MOST_RINGS=400,LatentMap=class{_key=null;_pictures=[];_chosen=null;_drawn=null;_drawnOf=[];_fog=null;_room=null;_plane=null;_corners=[];constructor(host,world,on){
this.host=host,this.world=world,this.on=
on,this.still=document.createElement("ca\
nvas"),this.moving=document.createElement(
"canvas"),this.still.className="still",this.
moving.className="moving",this.still.setAttribute(
"aria-hidden","true"),host.classList.add(
"map"),host.append(this.still,this.moving),
this.look=null,this.dots=new Dots(()=>this.
_paintAgain()),this.tip=new Tooltip(host,
world.examples,world.designs.aspect),this.
_listen()}_listen(){let{moving}=this;new Gestures(
moving,this._gesture()),moving.addEventListener(
"keydown",event=>{event.key==="Escape"&&
this.tip.hide()}),moving.addEventListener(
"blur",()=>this.tip.hide())}_gesture(){let{
on}=this,here=place=>this.look.plane.at(
this.toPlane(...place),on.about()),plain2={
hover:(place,isTouch)=>{this.tell(this.exampleAt(
...place,isTouch?REACH.touch:REACH.mouse)),
on.follow(here(place))},leave:()=>{this.
tip.hide(),on.leave()},click:place=>on.choose(
here(place)),tap:place=>on.keep(here(place))};
if(!on.zoom)return plain2;let zoom=()=>this.
look.zoom??null;return{...plain2,isWhole:()=>zoom()===
null,whole:()=>on.whole(),zoom:(factor,place)=>this.
_zoom(this.whole.zoomed(zoom(),factor,place)),
pan:(right,down)=>this._zoom(this.whole.
panned(zoom(),right,down)),tool:()=>on.tool?.()??
"move",draw:(way,tool)=>this._drawSelecting(
way.length&&tool!=="lasso"?cornersOf(onScreen(
way)):way),select:(way,tool)=>{this._drawSelecting(
[]),on.select(this._regionOf(way,tool))}}}_zoom(zoom){
this.tip.hide(),this.look={...this.look,
zoom},this.frame=this.whole.part(zoom),this.
on.zoom(zoom)}_regionOf(way,tool){let places=way.
map(place=>this.toPlane(...place));if(tool===
"lasso")return lassoOf(places);let region=rectangleOf(
places[0],places.at(-1));return region[2]>
region[0]&&region[3]>region[1]?region:null}_drawSelecting(corners){
this._corners=corners,this._marks&&this.
mark(this._marks)}tell(i){i<0?this.tip.hide():
this.tip.show(i,this.on.describe,this._placeOf(
i))}exampleAt(x,y,reach2){if(!this.points)
return-1;if(this.look.marks==="pictures"){
let isIn=box=>x>=box.x&&x<=box.x+box.w&&
y>=box.y&&y<=box.y+box.h;return this._pictures.
find(isIn)?.i??-1}return this.look.plane.
cellsOf(this.world.cloud).nearest(...this.
toPlane(x,y),reach2/this.scale,i=>this._isShown(
i))}_isShown(i){return!this.look.chosen||
this.look.chosen[i]===1}_isBetweenAxes([
x,y]){return x>AXES.left&&x<this.w&&y>0&&
y<this.h-AXES.bottom}show(look){let{clientWidth:w,
clientHeight:h}=this.host;if(!w||!h)return;
let{plane,colour,marks,fog,chosen,study,
validity,about,zoom,selection}=look,off=validity?
plane.at([0,0],about).join(","):"",room=[
w,h,Theme.dark,plane.names,off,validity!==
null].join("|"),part=[zoom?.by,zoom?.x,zoom?.
y,selection],seen=[marks,fog,study!==null,
...part],key=[room,colour?.name,...seen,
devicePixelRatio].join("|");this.look=look,
!(key===this._key&&plane===this._plane&&
chosen===this._chosen)&&(this.points=plane.
placesOf(this.world.cloud),(room!==this.
_room||plane!==this._plane)&&(this._fog=
null),this._key=key,this._room=room,this.
_chosen=chosen,this._plane=plane,this.w=
w,this.h=h,this.whole=Frame.around(plane.
isCurved?Float32Array.from(plane.lines()[0].
flat()):this.points,w,h),this.frame=this.
whole.part(zoom??null),this._drawStill())}get box(){
return this.whole.box}get scale(){return this.
frame.scale}toPlane(x,y){return this.frame.
toPlane(x,y)}toScreen(x,y){return this.frame.
toScreen(x,y)}_placeOf(i){return this.toScreen(
this.points[2*i],this.points[2*i+1])}_drawStill(){
let context=prepare(this.still,this.w,this.
h);context.fillStyle=Theme.colours.lit,context.
fillRect(0,0,this.w,this.h),this.look.fog&&
this._drawFog(context),this._drawAxes(context),
context.save(),context.beginPath(),context.
rect(AXES.left,0,this.w-AXES.left,this.h-
AXES.bottom),context.clip();for(let line of this.
look.plane.lines())drawLine(context,line.
map(place=>this.toScreen(...place)));this.
look.marks==="pictures"?this._drawPictures(
context):this._drawDots(context),this.look.
study&&drawDesigns(context,this.look.study,
z=>this.toScreen(...this.look.plane.place(
z))),this.look.selection&&this._drawSelection(
context),context.restore(),prepare(this.
moving,this.w,this.h)}_drawSelection(context){
let corners=cornersOf(this.look.selection).
map(place=>this.toScreen(...place));drawRegion(
context,corners)}_drawFog(context){this.
_fog??=this._pictureOfFog();let{x0,x1,y0,
y1}=this.box,[left,top]=this.toScreen(x0,
y1),[right,bottom]=this.toScreen(x1,y0);
context.imageSmoothingEnabled=!0,context.
imageSmoothingQuality="low",context.drawImage(
this._fog,left,top,right-left,bottom-top)}_pictureOfFog(){
let opacity=this.look.validity?this._invalid():
this._empty(),small2=document.createElement(
"canvas");small2.width=FOG,small2.height=
FOG;let picture=new ImageData(FOG,FOG),[
r,g,b]=hexOf(Theme.colours.fog);for(let row=0;row<
FOG;row++)for(let column=0;column<FOG;column++)
picture.data.set([r,g,b,255*opacity[row*
FOG+column]],4*((FOG-1-row)*FOG+column));
return small2.getContext("2d").putImageData(
picture,0,0),smoothed2(small2,FINER*FOG)}_empty(){
return densityOf(this.points,this.box,FOG).
map(density=>{let t2=Math.max(0,Math.min(
1,(density-.01)/.16));return 1-t2*t2*(3-
2*t2)})}_invalid(){let{plane,validity,about}=this.
look,{x0,x1,y0,y1}=this.box;return Float32Array.
from({length:FOG*FOG},(_,at)=>{let x=x0+
(x1-x0)*(at%FOG+.5)/FOG,y=y0+(y1-y0)*(Math.
floor(at/FOG)+.5)/FOG;return 1-validity.
probability(plane.at([x,y],about))})}_drawAxes(context){
let{soft,line}=Theme.colours;context.font=
Theme.font(11),context.fillStyle=soft,context.
strokeStyle=line,context.lineWidth=1,this.
look.plane instanceof Picture||(this._drawTicksAcross(
context),this.look.plane.second&&this._drawTicksUp(
context));let[first,second]=this.look.plane.
names;context.font=Theme.font(11.5,600),
context.textBaseline="middle",context.textAlign=
"right",context.fillText(first,this.w-10,
this.h-33),context.textAlign="left",second&&
context.fillText(second,10,14)}_drawTicksAcross(context){
let{x0,x1}=this.frame.box;context.textAlign=
"center",context.textBaseline="alphabeti\
c";for(let value of ticks(x0,x1,Math.max(
3,Math.round(this.w/110)))){let x=Math.round(
this.toScreen(value,0)[0])+.5;x<30||x>this.
w-10||(context.beginPath(),context.moveTo(
x,this.h-22),context.lineTo(x,this.h-18),
context.stroke(),context.fillText(shown(
value),x,this.h-7))}}_drawTicksUp(context){
let{y0,y1}=this.frame.box;context.textAlign=
"right",context.textBaseline="middle";for(let value of ticks(
y0,y1,Math.max(3,Math.round(this.h/110)))){
let y=Math.round(this.toScreen(0,value)[1])+
.5;y<22||y>this.h-26||(context.beginPath(),
context.moveTo(30,y),context.lineTo(34,y),
context.stroke(),context.fillText(shown(
value),27,y))}}_drawDots(context){let{frame,
still,w}=this,ratio=still.width/w,place={
w:still.width,h:still.height,left:ratio*
(frame.centre[0]-frame.middle[0]*frame.scale),
top:ratio*(frame.centre[1]+frame.middle[1]*
frame.scale),scale:ratio*frame.scale,radius:Math.
round(4*ratio*this._radius)/4},{canvas,place:painted,
isExact}=this.dots.paint(this._dotsToDraw(),
place),larger=place.scale/painted.scale,
[x,y]=[place.left-painted.left*larger,place.
top-painted.top*larger];context.save(),context.
setTransform(1,0,0,1,0,0),context.imageSmoothingEnabled=
!isExact,context.drawImage(canvas,x,y,painted.
w*larger,painted.h*larger),context.restore()}_paintAgain(){
this._key=null,this.show(this.look),this.
mark(this._marks)}get _radius(){return Math.
max(1.6,Math.min(3.4,3.9-Math.log10(this.
world.cloud.count)/2+this.w/1500))*Math.
min(2,(this.scale/this.whole.scale)**.2)}_dotsToDraw(){
let{colour,chosen}=this.look,depends=[this.
points,colour?.places,colour?.shades,chosen,
Theme.dark];return(!this._drawn||depends.
some((value,k)=>value!==this._drawnOf[k]))&&
(this._drawnOf=depends,this._drawn=drawnOf(
this.points,colour?.places??null,colour?.
shades??[Theme.colours.accent],chosen)),
this._drawn}_drawPictures(context){let{designs,
examples,order}=this.world,{colour}=this.
look,side=Math.max(20,Math.min(44,this.w/
22))*(designs.lines?1.5:1),[w,h]=designs.
aspect>=1?[side,side/designs.aspect]:[side*
designs.aspect,side],step=[w+5,h+5],[across,
down]=this.toScreen(0,0),taken=new Set;this.
_pictures=[];for(let i of order){if(!this.
_isShown(i))continue;let[x,y]=this._placeOf(
i);if(!Number.isFinite(x))continue;let cell=[
Math.round((x-across)/step[0]),Math.round(
(y-down)/step[1])],name=cell.join(" ");if(taken.
has(name))continue;taken.add(name);let left=Math.
round(across+cell[0]*step[0]-w/2),top=Math.
round(down+cell[1]*step[1]-h/2);left<36||
top<22||left+w>this.w-4||top+h>this.h-24||
(examples.draw(context,i,{x:left,y:top,w,
h}),this._pictures.push({i,x:left,y:top,
w,h}),colour&&(context.strokeStyle=colour.
of(i),context.lineWidth=2,context.strokeRect(
left-1,top-1,w+2,h+2)))}}mark(marks){let{
z,near=-1,pins=[],way=null,found=[]}=marks;
if(this._marks=marks,!this.points)return;
let context=this.moving.getContext("2d"),
where=point2=>this.toScreen(...this.look.
plane.place(point2));context.clearRect(0,
0,this.w,this.h),way&&drawWay(context,way.
map(where));let rings=found.map(i=>this.
_placeOf(i)).filter(place=>this._isBetweenAxes(
place));for(let place of rings.slice(0,MOST_RINGS))
drawRing(context,place);this._corners.length&&
drawRegion(context,this._corners),near>=
0&&drawNearest(context,where(z),this._placeOf(
near)),pins.forEach((pin,i)=>{drawPin(context,
where(pin),String(i+1))}),drawPoint(context,
where(z))}};function drawLine(context,places){
context.strokeStyle=Theme.colours.line,context.
lineWidth=1,context.beginPath();for(let[
x,y]of places)context.lineTo(x,y);context.
stroke()}function drawWay(context,places){
let{card,accent}=Theme.colours;context.beginPath();
for(let[x,y]of places)context.lineTo(x,y);
context.lineJoin="round",outlined(context,
card,6,accent)}function drawNearest(context,from,to){
context.strokeStyle=Theme.colours.ink,context.
globalAlpha=.55,context.lineWidth=1,context.
setLineDash([3,3]),context.beginPath(),context.
moveTo(...from),context.lineTo(...to),context.
stroke(),context.setLineDash([]),context.
globalAlpha=1,context.lineWidth=2,context.
beginPath(),context.arc(...to,6,0,TURN),
context.stroke()}function drawRing(context,place){
let{card,accent}=Theme.colours;context.beginPath(),
context.arc(...place,6,0,TURN),outlined(
context,card,4,accent)}function smoothed2(picture,side){
let larger=document.createElement("canva\
s");larger.width=side,larger.height=side;
let context=larger.getContext("2d");return context.
imageSmoothingEnabled=!0,context.imageSmoothingQuality=
"high",context.drawImage(picture,0,0,side,
side),larger}function onScreen(way){let[
[ax,ay],[bx,by]]=[way[0],way.at(-1)];return[
Math.min(ax,bx),Math.min(ay,by),Math.max(
ax,bx),Math.max(ay,by)]}function drawRegion(context,corners){
let{accent}=Theme.colours;context.beginPath();
for(let corner of corners)context.lineTo(
...corner);context.closePath(),context.strokeStyle=
accent,context.fillStyle=accent,context.
lineWidth=1.5,context.globalAlpha=.08,context.
fill(),context.globalAlpha=1,context.setLineDash(
[5,3]),context.stroke(),context.setLineDash(
[])}function drawPoint(context,[x,y]){let{
card,second}=Theme.colours;context.beginPath(),
context.arc(x,y,8,0,TURN);for(let side of[
-1,1])context.moveTo(x+8*side,y),context.
lineTo(x+14*side,y),context.moveTo(x,y+8*
side),context.lineTo(x,y+14*side);outlined(
context,card,5,second)}function outlined(context,behind,width,colour){
context.strokeStyle=behind,context.lineWidth=
width,context.stroke(),context.strokeStyle=
colour,context.lineWidth=2.5,context.stroke()}
function drawPin(context,[x,y],text2){let{
ink,card}=Theme.colours;context.beginPath(),
context.moveTo(x,y),context.lineTo(x-4,y-
8),context.lineTo(x+4,y-8),context.closePath(),
context.arc(x,y-15,9,0,TURN),context.fillStyle=
ink,context.strokeStyle=card,context.lineWidth=
2,context.stroke(),context.fill(),context.
fillStyle=card,context.font=Theme.font(11,
700),context.textAlign="center",context.
textBaseline="middle",context.fillText(text2,
x,y-14.5)}var SmallMap=class{constructor(app,label){
this.app=app,this.element=element("div",
{className:"map-place small"}),this.map=
new LatentMap(this.element,app.world,app.
hand),this.map.moving.setAttribute("role",
"img"),this.map.moving.setAttribute("ari\
a-label",label)}show(){this.map.show({...this.
app.look(),marks:"dots"})}mark(way=null){
let{live,near,state}=this.app;this.map.mark(
{z:live,near:near.index,pins:state.pins,
way})}};var pinning=(app,pointAt)=>({follow:i=>app.
follow(pointAt(i)),leave:()=>app.follow(
app.state.z),choose:i=>app.pin(pointAt(i))}),
Wall=class{constructor(host,label,on){this.
host=host,this.on=on,this.at=-1,this.tiles=
null,this.canvas=element("canvas",{className:"\
wall",tabIndex:0,role:"application","ari\
a-label":label}),this.canvas.addEventListener(
"pointermove",event=>{this._isAt(event)&&
this.on.follow(this.at)}),this.canvas.addEventListener(
"pointerleave",()=>this._leave()),this.canvas.
addEventListener("blur",()=>this._leave()),
this.canvas.addEventListener("click",event=>{
this._isAt(event)&&this.on.choose(this.at)}),
this.canvas.addEventListener("keydown",event=>this.
_key(event)),this.waiting=text("p",t`Designs are being decoded …`,
{className:"note",role:"status"}),host.append(
this.waiting,this.canvas)}show(tiles){this.
tiles=tiles,this.waiting.remove(),this.paint()}paint(){
if(!this.tiles?.count)return;let{count,across,
draw}=this.tiles,{gap,h}=this._size(),w=this.
host.clientWidth,down=Math.ceil(count/across)*
(h+gap),context=prepare(this.canvas,w,down-
gap);context.clearRect(0,0,w,down);for(let i=0;i<
count;i++)draw(context,i,this._box(i)),this.
_cover(context,i);if(this.at>=0){let{x,y,
w:width,h:height}=this._box(this.at);context.
strokeStyle=Theme.colours.second,context.
lineWidth=3,context.strokeRect(x+1.5,y+1.5,
width-3,height-3)}}_cover(context,i){let cover=this.
tiles.cover?.(i)??0;if(cover<=0)return;let{
x,y,w,h}=this._box(i);context.globalAlpha=
cover,context.fillStyle=Theme.colours.card,
context.fillRect(x-.5,y-.5,w+1,h+1),context.
globalAlpha=1}_size(){let{across,aspect,
gap,below=0}=this.tiles,w=(this.host.clientWidth-
gap*(across-1))/across;return{w,h:w/aspect+
below,gap}}_box(i){let{across}=this.tiles,
{w,h,gap}=this._size();return{x:i%across*
(w+gap),y:Math.floor(i/across)*(h+gap),w,
h}}_isAt(event){if(!this.tiles?.count)return!1;
let{count,across}=this.tiles,{w,h,gap}=this.
_size(),frame=this.canvas.getBoundingClientRect(),
column=Math.floor((event.clientX-frame.left)/
(w+gap)),i=Math.floor((event.clientY-frame.
top)/(h+gap))*across+column;return column<
0||column>=across||i<0||i>=count?!1:(i!==
this.at&&(this.at=i,this.paint()),!0)}_leave(){
this.at<0||(this.at=-1,this.paint(),this.
on.leave())}_key(event){if(!this.tiles)return;
let{count,across}=this.tiles,step={ArrowLeft:-1,
ArrowRight:1,ArrowUp:-across,ArrowDown:across}[event.
key];if(event.key==="Enter"&&this.at>=0)
this.on.choose(this.at);else if(step){let to=this.
at<0?0:this.at+step;to>=0&&to<count&&(this.
at=to),this.paint(),this.on.follow(this.
at)}else return;event.preventDefault()}},
Rows=class{constructor(host,designs,on){
this.designs=designs,this.on=on,this.table=
element("table",{className:"rows"}),host.
append(scrolled(t`Rows`,this.table))}show(items,heads=[]){
let head=element("tr",{},...["",...heads].
map(words2=>text("th",words2,{scope:"col"})));
for(let{name,unit}of this.designs.columns){
let small2=unit?text("small",` ${unit}`):
null;head.append(element("th",{scope:"co\
l"},text("span",name),small2))}let body=element(
"tbody",{},...items.map((item,i)=>this._row(
item,i)));body.addEventListener("pointer\
leave",()=>this.on.leave()),this.table.replaceChildren(
element("thead",{},head),body)}_row({name,
values,real,facts=[]},i){let pin=button(
name,()=>this.on.choose(i),{title:t`Pin this one`}),
row=element("tr",{},element("th",{scope:"\
row"},pin));return row.append(...facts.map(
words2=>text("td",words2,{className:"num\
ber"}))),row.append(...this.designs.columns.
map((_,k)=>this._cell(k,values[k],real?.[k]))),
row.addEventListener("pointerenter",()=>this.
on.follow(i)),pin.addEventListener("focu\
s",()=>this.on.follow(i)),row}_cell(k,value,real){
let{designs}=this,bar=element("i",{className:"\
bar-of"});bar.style.width=`${100*(designs.
share(k,designs.tidy(k,value))??0)}%`;let track=element(
"span",{className:"track"},bar),after=designs.
text(k,value),cell=element("td",{className:"\
number"});if(real===void 0)return cell.append(
text("span",after),track),cell;let before=designs.
text(k,real),share=designs.share(k,real),
mark=element("i",{className:"mark-of",hidden:share===
null});mark.style.left=`${100*(share??0)}\
%`,track.append(mark);let sameness=before===
after?"same":"rebuilt";return cell.append(
text("span",before,{className:"real"}),text(
"span",after,{className:sameness}),track),
cell}};var View=class{static key="";static title="";static isOfLatents=!1;static isFor(_contents){
return!0}static kept(_contents){return{}}_key=null;constructor(app){
this.app=app}mount(_host){}refresh(){}move(){}again(){}press(_key){
return!1}leave(){}};var SIZES=[8,12,15,20].map(size=>[size,`${size}\
 × ${size}`]),IN_PLANE=t`The plane of the map, decoded about the current point; the other directions stay as they are.`,
ON_MAP=t`The design under the pointer on the map of the latent space; a click pins another point`,
LABEL=t`Grid of decoded designs; arrow keys go from one to the next, Enter pins one`,
GridView=class extends View{static key="\
grid";static title="Grid";static isOfLatents=!0;static kept(){
return{grid:{start:15,read:whole(4,30)}}}mount(host){
let{app}=this,{dim,standard,prior,grid}=app.
contents.latents;this.fixed=dim===2&&!standard?
grid:null;let bar=element("div",{className:"\
bar"});this.fixed||bar.append(choice(t`Size`,
SIZES,app.state.grid,value=>app.set({grid:Number(
value)}))),bar.append(tick(t`Fog`,app.state.
fog,fog=>app.set({fog})));let axes=dim===
2?t`z1 rises to the right, z2 upwards.`:
t`z1 rises to the right.`,ofMass=t`A grid of equal prior mass: each tile stands for the same share of ${say(
prior)}.`;this.place=element("div",{className:"\
wall-place square"});let{aspect}=app.world.
designs;aspect>1&&(this.place.style.maxWidth=
`min(100%, calc((100vh - 240px) * ${aspect}\
))`),this.map=new SmallMap(app,ON_MAP);let beside=element(
"div",{className:"beside"},this.place,this.
map.element);host.append(bar,beside,note(
dim<=2?`${ofMass} ${axes}`:IN_PLANE)),this.
wall=new Wall(this.place,LABEL,pinning(app,
i=>this.points[i]))}again(){this._key=null}refresh(){
this.map.show(),this.move();let{state,contents}=this.
app,off=contents.latents.dim>2?[state.plane,
...this._offPlane()]:[],key=[state.grid,
state.fog,...state.context,...off,this.place.
clientWidth].join("|");key!==this._key&&
(this._key=key,this._draw(key))}move(){this.
map.mark()}_offPlane(){let{app}=this;return Array.
from(app.plane().at([0,0],app.state.z),value=>value.
toFixed(3))}_lattice(){let{app}=this,{dim}=app.
contents.latents;if(this.fixed)return fixedLattice(
floatsOf(this.fixed));let size=app.state.
grid,share=i=>(i+.5)/size;if(dim===1){let points2=Array.
from({length:size},(_,i)=>Float32Array.of(
normalQuantile(share(i))));return{across:size,
points:points2}}let point2=dim===2?ofPriorMass:
this._inPlane(),points=Array.from({length:size*
size},(_,i)=>{let fromBelow=size-1-Math.
floor(i/size);return point2(share(i%size),
share(fromBelow))});return{across:size,points}}_inPlane(){
let{app}=this,{cloud}=app.world,plane=app.
plane(),places=Array.from({length:cloud.
count},(_,i)=>plane.place(cloud.means,i*
cloud.dim)),[across,up]=[0,1].map(axis=>{
let sorted=Float64Array.from(places,place=>place[axis]).
sort(),low=sorted[Math.floor(.005*(sorted.
length-1))],high=sorted[Math.ceil(.995*(sorted.
length-1))];return share=>low+share*(high-
low)});return(x,y)=>plane.at([across(x),
up(y)],app.state.z)}async _draw(key){let{
app}=this,{designs}=app.world,{points,across}=this.
_lattice(),values=await app.many(points,
()=>this._key===key);if(!values)return;this.
points=points;let{draw}=designs.sheet(values,
points.length),covers=app.state.fog?points.
map(z=>this._cover(z)):null,tile=this.place.
clientWidth/across,cover=covers&&(i=>covers[i]);
this.wall.show({count:points.length,across,
aspect:designs.aspect,gap:tile>28?2:1,draw,
cover})}_cover(z){let{app}=this,strangeness=app.
world.nearness.strangeness(app.nearest(z).
distance);return Math.max(0,Math.min(.82,
.45*(strangeness-1)))}},ofPriorMass=(x,y)=>Float32Array.
of(normalQuantile(x),normalQuantile(y));
function fixedLattice(codes){let size=Math.
round(Math.sqrt(codes.length/2)),points=Array.
from({length:size*size},(_,i)=>{let at=(size-
1-Math.floor(i/size))*size+i%size;return codes.
slice(2*at,2*at+2)});return{across:size,
points}}var MOST=8,LIST="found";function examplesOf(words2,{
count,names,numbers,labels}){let wanted=words2.
trim().toLowerCase();if(!wanted)return[];
let ranks=[[],[],[],[],[]];for(let i=0;i<
count;i++){let name=(names?.[i]??"").toLowerCase(),
label=(labels[i]??"").toLowerCase(),rank=rankOf(
wanted,name,label,String(numbers?.[i]??""));
rank>=0&&ranks[rank].push(i)}let inOrder=rank=>numbers?
rank.sort((a,b)=>numbers[a]-numbers[b]):
rank;return ranks.flatMap(inOrder)}function rankOf(wanted,name,label,number){
return number===wanted?0:name===wanted?1:
name.startsWith(wanted)?2:label===wanted?
3:label.includes(wanted)||name.includes(
wanted)&&name!==`row ${number}`?4:-1}function labelsOf({
label}){return label?Array.from(numbersOf(
label),value=>label.categories[value]??""):
[]}var Search=class{found=[];_at=0;constructor(app,go){
this.app=app,this.go=go;let{rows}=app.contents;
this.rows={count:rows.count,names:rows.names,
numbers:rows.numbers,labels:labelsOf(app.
world)},this.list=element("ul",{id:LIST,
role:"listbox","aria-label":t`Examples that are found`,
hidden:!0}),this.field=element("input",{
type:"search",placeholder:t`name, label or row number`,
autocomplete:"off",spellcheck:!1,role:"c\
ombobox","aria-label":t`Find an example`,
"aria-expanded":"false","aria-controls":LIST,
"aria-autocomplete":"list",oninput:()=>this.
_look(),onkeydown:event=>this._key(event),
onblur:()=>this._open(!1),onfocus:()=>this.
_open(this.found.length>0)}),this.said=element(
"span",{className:"count",role:"status"});
let label=element("label",{className:"fi\
eld"},text("span",t`Find`),this.field);this.
element=element("div",{className:"search"},
label,this.said,this.list)}_look(){this.
found=examplesOf(this.field.value,this.rows),
this._at=0;let{length:length2}=this.found;
this.said.textContent=this.field.value.trim()?
t`${length2.toLocaleString("en")} found`:
"",this._open(length2>0),this.app.schedule(
!1)}_open(isOpen2){this.list.hidden=!isOpen2,
this.field.setAttribute("aria-expanded",
String(isOpen2));let options=this.found.
slice(0,MOST).map((i,at)=>this._option(i,
at));this.list.replaceChildren(...options),
isOpen2?this.field.setAttribute("aria-ac\
tivedescendant",`${LIST}-${this._at}`):this.
field.removeAttribute("aria-activedescen\
dant")}_option(i,at){let name=this.app.nameOf(
i)||t`example ${i+1}`,number=this.rows.numbers?.[i],
isSaid=number!==void 0&&this.rows.names?.[i]!==
`row ${number}`,made=element("li",{id:`${LIST}\
-${at}`,role:"option","aria-selected":String(
at===this._at)});return made.append(text(
"span",name),isSaid?text("small",t`row ${number}`):
""),made.addEventListener("pointerdown",
event=>{event.preventDefault(),this._at=
at,this._goThere()}),made}_goThere(){this.
found.length&&(this.go(this.found[this._at]),
this._open(!1))}_key(event){let step={ArrowDown:1,
ArrowUp:-1}[event.key]??0,count=Math.min(
MOST,this.found.length);if(step&&count)this.
list.hidden||(this._at=(this._at+step+count)%
count),this._open(!0);else if(event.key===
"Enter")this._goThere();else if(event.key===
"Escape")this.list.hidden&&(this.field.value=
""),this.field.value===""?this._look():this.
_open(!1);else return;event.preventDefault()}};var WRITTEN=["label","response","split"],
HINT2="Wheel or pinch zooms; with Shift \
a drag selects.";function cellsOfExamples({
contents,world},chosen){let{names,numbers}=contents.
rows,columns=world.columns.filter(({role})=>WRITTEN.
includes(role)),titles=columns.map(({name,
unit})=>unit?`${name} [${unit}]`:name),axes=Array.
from({length:contents.latents.dim},(_,k)=>`\
z${k+1}`),lines=(numbers?chosen.toSorted(
(a,b)=>numbers[a]-numbers[b]):chosen).map(
i=>{let known=columns.map(column=>cellOf2(
column,i));return[numbers?.[i]??"",names?.[i]??
"",...known,...Array.from(world.cloud.point(
i),float32Text)]});return[["row","name",
...titles,...axes],...lines]}function cellOf2(column,i){
let value=numbersOf(column)[i];return column.
kind==="category"?column.categories[value]??
"":float32Text(value)}var Selection=class{_chosen=void 0;constructor(app,select){
this.app=app,this.said=element("span",{className:"\
count",role:"status"}),this.all=button(t`Select all in view`,
select.view),this.pins=button(t`Select within pins`,
select.pins,{title:t`What the line from pin to pin goes round`});
let file=()=>csvOf(cellsOfExamples(app,app.
chosenExamples()));this.save=button(t`Save selection`,
()=>app.save(file(),"selection.csv")),this.
clear=button(t`Clear`,()=>app.set({selection:null}),
{"aria-label":t`Clear selection`,title:t`Select none (Escape)`}),
this.element=element("div",{className:"s\
election"},this.all,this.pins,this.save,
this.clear,this.said)}refresh(){let{state,
world}=this.app,chosen=this.app.chosen();
if(this.pins.hidden=state.pins.length<3,
this.save.hidden=!chosen,this.clear.hidden=
!state.selection,chosen===this._chosen)return;
this._chosen=chosen,this.app.tell?.();let count=chosen?
countOf(chosen):0,rows=world.cloud.count.
toLocaleString("en");this.save.disabled=
count===0,this.said.textContent=chosen?t`${count.
toLocaleString("en")} of ${rows} selected`:
say(HINT2)}},ChosenExamples=class{_chosen=void 0;shown=[];constructor(app,host,go){
this.app=app,this.host=host,this.title=element(
"p",{className:"chosen-title"});let place=element(
"div",{className:"chosen-wall"});host.append(
this.title,place),this.wall=new Wall(place,
t`Selected examples; arrow keys go from one to the next`,
{follow:at=>app.follow(app.world.cloud.point(
this.shown[at])),leave:()=>app.follow(app.
state.z),choose:at=>go(this.shown[at])})}again(){
this._chosen=void 0}refresh(){let{world}=this.
app,chosen=this.app.chosen();this.host.hidden=
!chosen;let width=this.host.clientWidth;
if(!chosen||chosen===this._chosen&&width===
this._width)return;this._chosen=chosen,this.
_width=width;let{aspect,areWide}=world.designs,
across=Math.max(4,Math.floor(width/(areWide?
84:54)));this.shown=firstOf(world.order,
chosen,2*across),this._showTitle(countOf(
chosen)),this.wall.at=-1,this.wall.show(
{count:this.shown.length,across,aspect,gap:6,
draw:(context,at,box)=>world.examples.draw(
context,this.shown[at],box)})}_showTitle(count){
let selected=count?t`Selected: ${count.toLocaleString(
"en")}`:t`None is selected`,some=t`${this.
shown.length} of them drawn at random`;this.
title.textContent=this.shown.length<count?
`${selected}, ${some}`:selected}};function countOf(chosen){
let count=0;for(let one of chosen)count+=
one;return count}function firstOf(order,chosen,most){
let found=[];for(let i of order){if(found.
length===most)break;chosen[i]&&found.push(
i)}return found}var SCALE={w:260,h:30,margin:18},LABEL2="\
Map of the latent space. Arrow keys move\
 the point, with Shift further; Enter pi\
ns it; N goes to the nearest example, an\
d what is known of it is said beside it.\
 Plus and minus zoom, 0 shows all.",STEP=1.5,
TOOLS=[["move",t`Move`],["rectangle",t`Rectangle`],
["lasso",t`Lasso`]],MapView=class extends View{static key="\
map";static title="Map";static isOfLatents=!0;_pairOf=null;_gone=-1;_tool="\
move";_before=[];mount(host){let{app}=this,
{world,state}=app,bar=element("div",{className:"\
bar"}),isGlobe=firstCurved(app.contents.
latents)?.startsWith("globe");(app.contents.
latents.dim>(isGlobe?3:2)||app.contents.
embedding)&&bar.append(...this._planes()),
isGlobe&&bar.append(this._turning());let columns=world.
columns.map(column=>[column.name,titleOf(
column)]),pictures=world.designs.kind===
"image"?t`Thumbnails`:t`Glyphs`,marks=[[
"dots",t`Dots`],["pictures",pictures]];if(bar.
append(choice(t`Colour`,[["",t`none`],...columns],
state.colour,colour=>app.set({colour,only:-1})),
segments(t`Marks`,marks,state.marks,value=>app.
set({marks:value})),tick(t`Fog`,state.fog,
fog=>app.set({fog}))),world.study?.validity){
let kinds=[["validity",t`likely invalid`],
["data",t`no data`]];bar.append(segments(
t`Where the fog lies`,kinds,state.fogOf,
of=>{app.set({fogOf:of})}))}world.study&&
bar.append(tick(t`Evaluated designs`,state.
designs,designs=>app.set({designs})));let place=element(
"div",{className:"map-place"});this.legend=
element("div",{className:"legend"}),this.
search=new Search(app,i=>this._go(i)),this.
selection=new Selection(app,{view:()=>this.
_selectView(),pins:()=>this._selectWithinPins()});
let drags=segments(t`What a drag does`,TOOLS,
this._tool,tool=>this._use(tool)),what=element(
"span",{className:"field"},text("span",t`Drag`,
{"aria-hidden":"true"}),drags),tools=element(
"div",{className:"bar find"},this.search.
element,what,this.selection.element),chosen=element(
"div",{className:"chosen-examples"});this.
ofPlane=note(""),host.append(bar,tools,place,
this.ofPlane,this.legend,chosen),this.chosen=
new ChosenExamples(app,chosen,i=>this._go(
i)),world.study&&(this.ofFog=note(""),host.
append(keyOfMarks(world.study),this.ofFog)),
this.map=new LatentMap(place,world,this.
_hand()),place.append(this._zoomButtons()),
this._at=state.z,Object.assign(this.map.
moving,{tabIndex:0,id:"map"}),this.map.moving.
setAttribute("role","application"),this.
map.moving.setAttribute("aria-label",say(
LABEL2)),this.map.moving.addEventListener(
"keydown",event=>{this.isByKey=event.key!==
"Escape",app.arrows(event,this.map)}),this.
map.moving.addEventListener("pointermove",
()=>{this.isByKey=!1,this._gone=-1}),world.
rowsNote&&host.append(note(world.rowsNote))}again(){
this._key=null,this.chosen.again()}refresh(){
this.pair&&this._showPair(),this.ofPlane.
hidden=this.app.state.plane!==PICTURE,this.
ofPlane.textContent=this.ofPlane.hidden?
"":this._wordsOfPicture(),this.ofFog&&(this.
ofFog.textContent=this._wordsOfFog());let{
state}=this.app;state.z!==this._at&&this.
_bringIntoView();let look={...this.app.look(),
zoom:state.zoom,selection:state.selection};
this.map.show(look),this.selection.refresh(),
this.all.disabled=state.zoom===null,this.
smaller.disabled=state.zoom===null,this.
_showLegend(look.colour),this.chosen.refresh(),
this.move()}move(){let{live,near,state}=this.
app;this.map.mark({z:live,near:near.index,
pins:state.pins,found:this.search.found}),
this._gone>=0&&this.map.tell(this._gone),
this.isByKey&&this.map.moving===document.
activeElement&&this.map.tell(near.index)}press(key){
let{app}=this;if(key==="+"||key==="=")this.
_zoomBy(STEP);else if(key==="-")this._zoomBy(
1/STEP);else if(key==="0")app.set({zoom:null});else if(key===
"/")this.search.field.focus();else if(key===
"Escape"&&app.state.selection)app.set({selection:null});else
return!1;return!0}_hand(){let{app}=this,
{hand}=app,remember2=()=>{let{z,pins,labels}=app.
state;this._before=[...this._before.slice(
-1),{z,pins,labels}]};return{...hand,choose:z=>{
remember2(),hand.choose(z)},keep:z=>{remember2(),
hand.keep(z)},zoom:zoom=>{let{live}=app;
this._before=[],app.set({zoom}),app.follow(
live)},whole:()=>app.set({...this._before.
length>1?this._before[0]:{},zoom:null}),
select:selection=>app.set({selection}),tool:()=>this.
_tool}}_use(tool){this._tool=tool,this.map.
moving.style.touchAction=tool==="move"?"":
"none"}_zoomButtons(){let larger=button(
"+",()=>this._zoomBy(STEP),{"aria-label":t`Zoom in`,
title:t`Zoom in (+)`});return this.smaller=
button("−",()=>this._zoomBy(1/STEP),{"\
aria-label":t`Zoom out`,title:t`Zoom out (−)`}),
this.all=button(t`All`,()=>this.app.set(
{zoom:null}),{"aria-label":t`Show all of the map`,
title:t`Show all of the map (0, or a double click)`}),
element("div",{className:"zooms"},larger,
this.smaller,this.all)}_zoomBy(factor){let{
app,map}=this,{zoom,z}=app.state,place=map.
look.plane.place(z),about=map.whole.showing(
zoom,place)===zoom?map.toScreen(...place):
[map.w/2,map.h/2];app.set({zoom:map.whole.
zoomed(zoom,factor,about)})}_bringIntoView(){
let{state}=this.app;this._at=state.z,this.
map.whole&&(state.zoom=this.map.whole.showing(
state.zoom,this.app.plane().place(state.
z)))}_selectView(){let[x0,y0,x1,y1]=this.
map.frame.inner;this.app.set({selection:rectangleOf(
[x0,y0],[x1,y1])})}_selectWithinPins(){let{
pins}=this.app.state,plane=this.app.plane(),
selection=lassoOf(pins.map(z=>plane.place(
z)));selection?this.app.set({selection}):
this.app.toast(t`The pins stand on one line of the map: nothing lies between them`)}_go(i){
this._gone=i,this.app.set({z:this.app.world.
cloud.point(i)})}_setPlane(plane){this.app.
set({plane,zoom:null,selection:null})}_wordsOfPicture(){
let{embedding,rows}=this.app.contents,counts=[
embedding.count,rows.count].map(count=>count.
toLocaleString("en")),who=embedding.count<
rows.count?t`It has ${counts[0]} of ${counts[1]} examples.`:
"",what=[t`${embedding.name} is a picture, and no distance: neighbours stand together.`,
t`How far apart groups stand and how large they are means nothing.`],
where=t`Only examples have a place in it; the point goes from one to the next.`;
return[...what,who,where].filter(Boolean).
join(" ")}_wordsOfFog(){let{world,state}=this.
app,{validity,contents}=world.study;return validity?
state.fogOf==="data"?t`The fog lies where there are no data, which does not say what is valid.`:
`${t`The fog is the thicker, the likelier a design is invalid.`}\
 ${say(contents.validity.note)}`:say(contents.
validity.note)}_turning(){let{app}=this,
parts=[[t`Turn`,"turn",180],[t`Tilt`,"ti\
lt",90]].map(([name,key,most])=>{let start2=Globe.
parts(app.state.plane)??Globe.parts(firstCurved(
app.contents.latents)),slider=element("i\
nput",{type:"range",min:-most,max:most,step:5,
value:start2[key]});return slider.addEventListener(
"input",()=>{let side=Globe.parts(app.state.
plane)??{...start2};side[key]=Number(slider.
value),this._setPlane(`globe:${side.turn}\
:${side.tilt}`)}),element("label",{className:"\
turning"},text("span",name),slider)});return element(
"span",{className:"pair"},...parts)}_planes(){
let{app}=this,[a,b]=app.contents.latents.
order,planes=[["two",t`two latents`]];app.
contents.latents.dim<3&&(planes[0]=["two",
t`the latents`]),app.contents.plane&&planes.
unshift(["pca","PCA"]),app.contents.embedding&&
planes.push([PICTURE,t`${app.contents.embedding.
name}, a picture`]);let curved=firstCurved(
app.contents.latents);curved&&planes.unshift(
[curved,curved==="disc"?t`the disc`:t`the globe`]);
let named=["pca",PICTURE,...curved?[curved]:
[]],key=Globe.parts(app.state.plane)?curved:
app.state.plane,chosen=named.includes(key)?
key:"two",two=app.contents.latents.dim<3?
"0,1":`${a},${b}`;return this.pair=element(
"span",{className:"pair"}),[choice(t`Plane`,
planes,chosen,key2=>this._setPlane(named.
includes(key2)?key2:two)),this.pair]}_showPair(){
let{app}=this,{plane}=app.state;if(this.
_pairOf===plane||(this._pairOf=plane,this.
pair.replaceChildren(),plane==="pca"||plane===
PICTURE||curvedPlane(plane,app.contents.
latents)||app.contents.latents.dim<3))return;
let[a,b]=plane.split(",").map(Number),names=app.
contents.latents.order.map(k=>[k,`z${k+1}`]);
this.pair.append(choice(t`across`,names,
a,value=>this._setPlane(`${value},${Number(
value)===b?a:b}`)),choice(t`up`,names,b,
value=>this._setPlane(`${Number(value)===
a?b:a},${value}`)))}_showLegend(colour){
let key=[colour?.name,this.app.state.only,
Theme.dark].join("|");if(key===this._key||
(this._key=key,this.legend.replaceChildren(),
!colour))return;let name=titleOf(colour),
title=colour.unit?`${name} [${colour.unit}\
]`:name;this.legend.append(text("span",title,
{className:"legend-title"})),colour.kind===
"number"?this._showScale(colour):this.legend.
append(...colour.groups.map(group=>this.
_groupButton(group)))}_showScale({low,high,
range,unit,missing}){let ends=t`${shown(
range[0])} to ${shown(range[1])}${unit?`\
 ${unit}`:""}`,bar=element("canvas",{role:"\
img","aria-label":t`colours from ${shown(
low)} to ${shown(high)}`});this.legend.append(
bar,text("span",t`min to max: ${ends}`,{
className:"ends"})),drawScale(prepare(bar,
SCALE.w,SCALE.h),low,high),missing&&this.
legend.append(this._missing(missing))}_missing(count){
let swatch=element("i");swatch.style.background=
Theme.colours.missing;let made=element("\
span",{className:"missing"});return made.
append(swatch,text("span",t`none: ${count.
toLocaleString("en")} rows`)),made}_groupButton({
name,count,shade,group}){let{app}=this,isAlone=app.
state.only===group,swatch=element("i");swatch.
style.background=shade;let made=button("",
()=>app.set({only:isAlone?-1:group}),{"a\
ria-pressed":String(isAlone),title:t`${count.
toLocaleString("en")} rows; click to see them alone`});
return made.append(swatch,text("span",name)),
made}};function drawScale(context,low,high){
let{w,h,margin}=SCALE,length2=w-2*margin;
context.clearRect(0,0,w,h);for(let x=0;x<
length2;x++)context.fillStyle=scaleColour(
x/(length2-1)),context.fillRect(margin+x,
0,1,11);context.font=Theme.font(11),context.
fillStyle=Theme.colours.soft,context.textAlign=
"center",context.textBaseline="top";for(let value of ticks(
low,high,4)){let x=margin+(value-low)/(high-
low||1)*(length2-1);context.fillRect(Math.
round(x),11,1,4),context.fillText(shown(
value),x,17)}}var Player=class{_phase=0;_frame=0;constructor(show,stops){
this.show=show,this.stops=stops,this.seconds=
4}get isPlaying(){return this._frame!==0}play(share){
this._phase=share;let last=performance.now(),
next=now=>{let passed=Math.max(0,Math.min(
.1,(now-last)/1e3));last=now,this._phase=
(this._phase+passed/this.seconds)%2,this.
_frame=requestAnimationFrame(next),this.
show(this.share)};this._frame=requestAnimationFrame(
next)}pause(){cancelAnimationFrame(this.
_frame),this._frame=0}get share(){let share=this.
_phase<=1?this._phase:2-this._phase;return matchMedia(
"(prefers-reduced-motion: reduce)").matches?
Math.round(share*(this.stops-1))/(this.stops-
1):share}};var STEPS3=11,FINE=61,SPEEDS=[[8,t`slow`],
[4,t`medium`],[2,t`fast`]],PRESSED_BY_SPACE="\
button, input[type=checkbox]",ON_MAP2=t`The way on the map of the latent space; a click pins another point`,
WAYS=[["straight",t`Straight`],["data",t`Along the data`]],
MorphView=class extends View{static key="\
morph";static title="Morph";static isOfLatents=!0;_waysOf=null;_distancesOf=null;_barOf=null;static kept(){
return{morph:{start:{a:0,b:1,way:"straig\
ht",share:.5},read:readMorph,write:({a,b,
way,share})=>[a,b,way,Number(share.toFixed(
3))].join(",")}}}mount(host){let{app}=this;
this._twoPins(),this.bar=element("div",{
className:"bar"}),this.wallPlace=element(
"div",{className:"wall-place"}),this.slider=
element("input",{type:"range",min:0,max:1,
step:.005,"aria-label":t`How far along the way`,
oninput:()=>this._along(Number(this.slider.
value))}),this.player=new Player(share=>this.
_pass(share),STEPS3),this.play=button(t`Play`,
()=>this._playOrPause(),{title:t`To and fro along the way (Space)`});
let speed=choice(t`Speed`,SPEEDS,this.player.
seconds,seconds=>{this.player.seconds=Number(
seconds)}),player=element("div",{className:"\
player"},this.play,this.slider,speed);this.
profile=element("canvas",{role:"img","ar\
ia-label":t`Distance to the nearest example along the way`}),
this.profilePlace=element("div",{className:"\
profile"},this.profile),this.words=note(
""),this.map=new SmallMap(app,ON_MAP2),host.
append(this.bar,this.wallPlace,player,this.
profilePlace,this.words,this.map.element);
let shareOf=i=>i/(STEPS3-1);this.wall=new Wall(
this.wallPlace,t`Designs along the way; arrow keys go from one to the next`,
{follow:i=>app.follow(this._point(shareOf(
i))),leave:()=>app.follow(app.state.z),choose:i=>this.
_along(shareOf(i))}),this.refresh(),this.
_along(app.state.morph.share)}again(){this.
_key=null}refresh(){let{app}=this;this._twoPins();
let{morph,context}=app.state,[a,b]=this.
_ends();this._findWays(a,b),this._measureWays(),
this._showBar(a,b),this.way=this.ways[morph.
way],this.player.isPlaying||(this.slider.
value=String(morph.share)),this.map.show();
let key=[this._waysOf,morph.way,...context,
this.wallPlace.clientWidth].join("|");key!==
this._key&&(this._key=key,this._showWall(
key)),this._drawProfile(),this.move()}move(){
this.map.mark(this.way)}press(key){return key!==
" "||document.activeElement.matches(PRESSED_BY_SPACE)?
!1:(this._playOrPause(),!0)}leave(){this.
player.isPlaying&&this._playOrPause()}_playOrPause(){
if(this.player.isPlaying)return this._along(
this.player.share);this.player.play(this.
app.state.morph.share),this.play.textContent=
t`Pause`}_pass(share){this.slider.value=
String(share),this.app.follow(this._point(
share)),this._drawProfile()}_twoPins(){let{
state,world}=this.app;if(state.pins.length>
1)return;let{cloud,order}=world,first=state.
pins[0]??cloud.point(order[0]),some=order.
slice(0,200).map(i=>cloud.point(i)),farther=(best,z)=>distanceOf(
z,first)>distanceOf(best,first)?z:best;state.
pins=[first,some.reduce(farther,first)],
state.morph={...state.morph,a:0,b:1}}_ends(){
let{pins,morph}=this.app.state,a=Math.min(
morph.a,pins.length-1);return morph.b<pins.
length&&morph.b!==a?[a,morph.b]:[a,a===0?
1:0]}_findWays(a,b){let{pins}=this.app.state,
key=[a,b,...pins.map(pin=>pin.join(","))].
join("|");if(key===this._waysOf)return;this.
_waysOf=key;let{space,world}=this.app,{cloud}=world;
this.ways={straight:straightWay(pins[a],
pins[b],FINE,(a2,b2,share)=>space.between(
a2,b2,share)),data:wayAlongData(cloud,pins[a],
pins[b],FINE).map(z=>space.nearest(z))}}_measureWays(){
let{app}=this,key=[this._waysOf,...app.state.
context].join("|");if(key===this._distancesOf)
return;this._distancesOf=key;let distances=way=>way.
map(z=>app.nearest(z).distance);this.distances=
{straight:distances(this.ways.straight),
data:distances(this.ways.data)}}_showBar(a,b){
let{app}=this,{pins,morph}=app.state,key=[
this._waysOf,morph.way].join("|");if(key===
this._barOf)return;this._barOf=key;let names=pins.
map((_,i)=>[i,t`pin ${i+1}`]),change=changes=>app.
set({morph:{...app.state.morph,...changes}}),
controls=()=>Array.from(this.bar.querySelectorAll(
"select, button")),focused=controls().indexOf(
document.activeElement);this.bar.replaceChildren(
choice(t`From`,names,a,value=>change({a:Number(
value),b:Number(value)===b?a:b})),choice(
t`to`,names,b,value=>change({b:Number(value),
a:Number(value)===a?b:a})),segments(t`Way`,
WAYS,morph.way,way=>change({way}))),controls()[focused]?.
focus();let farthest=name=>shown(Math.max(
...this.distances[name]),.01),[straight,
data]=[farthest("straight"),farthest("da\
ta")];this.words.textContent=t`Farthest from any example: ${straight} on the straight way, ${data} along the data.`}_point(share){
let at=share*(FINE-1),low=Math.min(FINE-
2,Math.floor(at));return between(this.way[low],
this.way[low+1],at-low)}_along(share){this.
player.pause(),this.play.textContent=t`Play`,
this.app.set({z:this._point(share),morph:{
...this.app.state.morph,share}})}async _showWall(key){
let{app}=this,{designs}=app.world,points=Array.
from({length:STEPS3},(_,i)=>this._point(
i/(STEPS3-1))),values=await app.many(points,
()=>this._key===key);if(!values)return;let sheet=designs.
sheet(values,STEPS3),across=this.wallPlace.
clientWidth<480?6:STEPS3;this.wall.show(
{count:STEPS3,across,aspect:designs.aspect,
gap:3,draw:sheet.draw})}_drawProfile(){let{
soft,accent,second}=Theme.colours,w=this.
profilePlace.clientWidth,h=84,context=prepare(
this.profile,w,h),box={x:40,y:16,w:w-48,
h:h-22},{limit}=this.app.world.nearness,
{straight,data}=this.distances,most=1.1*
Math.max(limit,...straight,...data)||1;context.
clearRect(0,0,w,h),drawFrame(context,box,
limit,most),this._drawDistances(context,
box,"straight",second,most),this._drawDistances(
context,box,"data",accent,most),context.
setLineDash([]);let{isPlaying,share}=this.
player,x=box.x+(isPlaying?share:this.app.
state.morph.share)*box.w;context.strokeStyle=
soft,context.lineWidth=1,context.beginPath(),
context.moveTo(x,box.y),context.lineTo(x,
box.y+box.h),context.stroke()}_drawDistances(context,box,name,colour,most){
let isChosen=name===this.app.state.morph.
way;context.beginPath(),this.distances[name].
forEach((value,i)=>{context.lineTo(box.x+
i/(FINE-1)*box.w,box.y+box.h*(1-value/most))}),
context.strokeStyle=colour,context.lineWidth=
isChosen?2.5:1,context.setLineDash(isChosen?
[]:[4,3]),context.stroke()}};function drawFrame(context,box,limit,most){
let{soft,line}=Theme.colours;context.fillStyle=
Theme.colours.fog,context.globalAlpha=.6,
context.fillRect(box.x,box.y,box.w,box.h*
(1-limit/most)),context.globalAlpha=1,context.
font=Theme.font(11),context.fillStyle=soft,
context.textBaseline="top",context.textAlign=
"left";let words2=t`Distance to the nearest example`,
fog=t`fog: farther than is usual among the data`;
context.fillText(box.w<420?words2:`${words2}\
; ${fog}`,box.x,0),context.strokeStyle=line,
context.strokeRect(box.x+.5,box.y+.5,box.
w-1,box.h-1),context.textAlign="right",context.
textBaseline="middle",context.fillText(shown(
most/1.1,.01),box.x-5,box.y+8),context.fillText(
"0",box.x-5,box.y+box.h-5)}function readMorph(text2){
let[first,second,way,share]=text2.split(
","),[a,b]=[first,second].map(whole(0,MOST_PINS-
1)),isWay=WAYS.some(([name])=>name===way);
if(!(a===void 0||b===void 0||!isWay))return{
a,b,way,share:Math.max(0,Math.min(1,Number(
share)||0))}}var HOW_TO_READ="Mean ± standard error o\
ver the rows. Lower NLL is better, highe\
r ELBO is better; constants are included\
.",NUMBER={className:"number"},NumbersView=class extends View{static key="\
numbers";static title="Numbers";mount(host){
let{numbers,latents}=this.app.contents,{
active,notes}=numbers,{facts}=numbers,{error}=this.
app.decoder,levels=t`within ${shown(255*
error)} of 255 parts of the range`;error!==
void 0&&(facts=[...facts,[t`Decoder of this page, beside Python's`,
levels]]);let run=facts.map(([name,value])=>element(
"div",{},text("dt",say(name)),text("dd",
say(value)))),table=element("div",{},text(
"h2",t`Held-out numbers`),scrolled(t`Held-out numbers`,
this._table()),note(say(HOW_TO_READ))),others=element(
"div",{},text("h2",latents.unit?t`KL per latent dimension`:
t`Variance of each posterior mean`),this.
_bars(),note(t`${active.count} of ${active.
of} units are active: their posterior mean varies by more than 0.01.`),
text("h2",t`The run`),element("dl",{className:"\
facts"},...run));if(host.append(table,others),
notes.length){let items=notes.map(words2=>text(
"li",say(words2)));others.append(text("h\
2",t`To be known`),element("ul",{className:"\
notes"},...items))}let questions=numbers.
questions.map(questionOf);questions.length&&
host.append(element("div",{className:"de\
pth"},text("h2",t`In depth`),...questions))}_table(){
let{header,rows,links}=this.app.contents.
numbers;return tableOf(header,rows,(name,i)=>nameOf(
name,links[i]))}_bars(){let{order,measure,
errors,unit}=this.app.contents.latents,most=Math.
max(...measure,1e-9),list2=element("ol",
{className:"kl"});for(let k of order){let bar=element(
"i");bar.style.width=`${100*Math.max(0,measure[k])/
most}%`;let error=errors?.[k]?` ± ${shown(
errors[k],errors[k])}`:"",value=shown(measure[k],
errors?.[k]||.001),track=element("span",
{className:"track"},bar);list2.append(element(
"li",{},text("b",`z${k+1}`),track,text("\
span",`${value}${error} ${say(unit)}`,NUMBER)))}
return list2}};function questionOf({title,
asked,answer,tables,meanings}){let whole2=element(
"details",{className:"question"}),answered=element(
"summary",{},text("strong",say(title)),`\
: ${say(answer)}.`);whole2.append(answered,
note(say(asked)));for(let{title:subtitle,
header,rows,note:remark,own}of tables){let said=name=>own.
includes(name)?name:say(name),named=name=>own.
includes(name)?name:explained(name,meanings[name]);
subtitle&&whole2.append(text("h3",said(subtitle)));
let table=tableOf(header,rows,named,named);
whole2.append(scrolled(said(subtitle||title),
table)),remark&&whole2.append(note(say(remark)))}
return whole2}function tableOf(header,rows,named,headed=say){
let heads=header.map((words2,i)=>element(
"th",{scope:"col",className:i?"number":""},
headed(words2))),lines=rows.map(([name,...cells],i)=>element(
"tr",{},element("th",{scope:"row"},named(
name,i)),...cells.map(cellOf3))),head=element(
"thead",{},element("tr",{},...heads));return element(
"table",{className:"numbers"},head,element(
"tbody",{},...lines))}function explained(name,meaning){
if(!meaning)return say(name);let mark=text(
"span","?",{className:"mark"});return element(
"details",{className:"why"},element("sum\
mary",{},say(name),mark),note(say(meaning)))}
function nameOf(name,link){return link?text(
"a",say(name),{href:link}):say(name)}function cellOf3(words2){
let isNumber=/^[-+\u2212]?\.?\d/.test(words2);
return text("td",say(words2).replace(/^-/,
MINUS),{className:isNumber?"number":""})}var HOW={table:"In each cell the value a\
nd, below it, what the model makes of it\
.",curve:"The row and, in blue, what the\
 model makes of it.",outline:"The row an\
d, in blue, what the model makes of it.",
image:"Above each the row, below what th\
e model makes of its posterior mean."},MEASURE={
one:"Below each its name and the root me\
an squared error.",none:"Below each its \
name and the root mean squared error in \
the data's own units."},LABEL3=t`Reconstructions, the worst first; arrow keys go from one to the next`,
WORDS=20,RebuiltView=class extends View{static key="\
rebuilt";static title="Reconstructions";mount(host){
let{app}=this,{rows}=app.contents,{designs,
cloud}=app.world;this.which=[...rows.worst,
...rows.others],this.points=this.which.map(
i=>cloud.point(i)),this.told=rows.contexts?
floatsOf(rows.contexts):null,this.error=
app.world.columns.find(({role})=>role===
"error");let[worst,others]=[rows.worst,rows.
others].map(({length:length2})=>length2),
some=t`The ${worst} worst of the ${say(rows.
judged)} rows first, then ${others} from everywhere.`,
measure=MEASURE[this.error.unit?"one":"n\
one"];host.append(note([some,say(HOW[designs.
kind]),designs.kind==="table"?"":say(measure)].
join(" "))),this.place=element("div",{className:"\
wall-place"}),host.append(this.place);let on=pinning(
app,i=>this.points[i]);designs.kind==="t\
able"?this.table=new Rows(this.place,designs,
on):this.wall=new Wall(this.place,LABEL3,
on)}again(){this._key=null}refresh(){let key=String(
this.place.clientWidth);key!==this._key&&
(this._key=key,this._draw(key))}async _draw(key){
let{app,which}=this,values=await app.many(
this.points,()=>this._key===key,this.told);
if(!values)return;let errors=numbersOf(this.
error),unit=this.error.unit?` ${this.error.
unit}`:"",texts=which.map(row=>`${shown(
errors[row],errors[row]/100)}${unit}`);this.
table?this._showTable(values,texts):this.
_showWall(values,texts)}_showTable(values,texts){
let{app}=this,{designs,examples}=app.world,
items=this.which.map((row,i)=>({name:app.
nameOf(row)||String(i+1),values:designs.
part(values,i),real:designs.part(examples.
values,row),facts:[texts[i]]}));this.table.
show(items,[this.error.unit?t`error`:t`error, own units`])}_showWall(values,texts){
let{designs}=this.app.world,w=this.place.
clientWidth,isLine=!!designs.lines,count=this.
which.length,sheet=designs.sheet(values,
count);this.wall.show({count,across:isLine?
Math.max(2,Math.round(w/190)):Math.max(5,
Math.min(10,Math.round(w/84))),aspect:isLine?
designs.aspect:designs.aspect/2,gap:8,below:WORDS,
draw:(context,i,box)=>{let inside={...box,
h:box.h-WORDS};isLine?this._drawLines(context,
i,inside,sheet):this._drawPair(context,i,
inside,sheet),this._write(context,i,box,
texts[i])}})}_drawLines(context,i,box,sheet){
let{designs,examples}=this.app.world;sheet.
draw(context,i,box);let inside={x:box.x+
3,y:box.y+3,w:box.w-6,h:box.h-6},row=designs.
part(examples.values,this.which[i]);designs.
lines.draw(context,row,inside,{colour:Theme.
colours.second,width:1.2})}_drawPair(context,i,{
x,y,w,h},sheet){let half=h/2;this.app.world.
examples.draw(context,this.which[i],{x,y,
w,h:half-1}),sheet.draw(context,i,{x,y:y+
half+1,w,h:half-1})}_write(context,i,{x,
y,w,h},text2){let{app}=this,isOfWorst=i<
app.contents.rows.worst.length,name=app.
nameOf(this.which[i]).split("/").at(-1);
context.font=Theme.font(11,isOfWorst?600:
400),context.fillStyle=Theme.colours.soft,
context.textAlign="center",context.textBaseline=
"middle",context.fillText(name?`${name}:\
 ${text2}`:text2,x+w/2,y+h-WORDS/2,w)}};var LABEL4=t`Samples; arrow keys go from one to the next, Enter pins one`,
SamplesView=class extends View{static key="\
samples";static title="Samples";static kept({
laws}){let readLaw=whole(0,laws.length-1),
readSeed=whole(0,1e6);return{draw:{start:{
law:0,seed:1},read(text2){let[first,second]=text2.
split(","),[law,seed]=[readLaw(first),readSeed(
second)];return law===void 0||seed===void 0?
void 0:{law,seed}},write:({law,seed})=>`${law}\
,${seed}`}}}mount(host){let{app}=this,{laws}=app.
contents,{draw}=app.state,bar=element("d\
iv",{className:"bar"});if(laws.length>1){
let names=laws.map(({name},k)=>[k,say(name)]);
bar.append(choice(t`Draw z from`,names,draw.
law,value=>app.set({draw:{law:Number(value),
seed:1}})))}else bar.append(note(t`z is drawn from ${say(
laws[0].name)}, then decoded.`));let again=()=>{
let{law,seed}=app.state.draw;app.set({draw:{
law,seed:seed+1}})};bar.append(button(t`Draw again`,
again)),this.place=element("div",{className:"\
wall-place"}),host.append(bar,this.place,
note(t`The means of p(x|z); its noise is left out.`)),
laws.length===1&&host.append(note(t`A sampler fitted with variform sampler stands here beside the prior.`));
let on=pinning(app,i=>this.points[i]);app.
world.designs.kind==="table"?this.table=
new Rows(this.place,app.world.designs,on):
this.wall=new Wall(this.place,LABEL4,on)}again(){
this._key=null}refresh(){let{draw,context}=this.
app.state,key=[draw.law,draw.seed,...context,
this.place.clientWidth].join("|");key!==
this._key&&(this._key=key,this._draw(key))}_points(count){
let{law,seed}=this.app.state.draw,{dim}=this.
app.contents.latents,{codes}=this.app.contents.
laws[law],part=(all2,at)=>all2.slice(at*
dim,(at+1)*dim);if(codes===null){let drawn=normals(
count*dim,seed);return Array.from({length:count},
(_,i)=>part(drawn,i))}let all=floatsOf(codes),
known=all.length/dim;return Array.from({
length:count},(_,i)=>part(all,((seed-1)*
count+i)%known))}_room(){let{designs}=this.
app.world,w=this.place.clientWidth,across=designs.
lines?Math.max(2,Math.round(w/190)):Math.
max(4,Math.round(w/86)),onNarrow=w<480?1.4:
1,down=Math.max(3,Math.round((designs.areWide?
5:6)*onNarrow));return{across,count:this.
table?16:across*down}}async _draw(key){let{
app}=this,{designs}=app.world,{across,count}=this.
_room(),points=this._points(count),values=await app.
many(points,()=>this._key===key);if(!values)
return;if(this.points=points,this.table){
this.table.show(points.map((_,i)=>({name:String(
i+1),values:designs.part(values,i)})));return}
let{draw}=designs.sheet(values,count);this.
wall.show({count,across,aspect:designs.aspect,
gap:6,draw})}};var AT_ONCE=6,STRIP=9,WITH_MAP=3,ON_MAP3=t`The point on the map of the latent space; a click pins another one`,
SlidersView=class extends View{static key="\
sliders";static title="Sliders";static isOfLatents=!0;_stripsOf=null;static kept({
latents}){let pages=Math.ceil(latents.dim/
AT_ONCE);return{page:{start:0,read:whole(
0,pages-1)}}}mount(host){let{app}=this,{
latents}=app.contents,what=t`Most informative first, by ${say(
latents.what)}.`,bar=element("div",{className:"\
bar"});bar.append(note(`${what} ${t`Each strip moves one latent and leaves the others where they are.`}`)),
latents.dim>AT_ONCE&&bar.append(this._pager(
Math.ceil(latents.dim/AT_ONCE))),this.list=
element("div",{className:"sliders"});let zero=button(
t`All to 0`,()=>app.set({z:new Float32Array(
latents.dim)}));host.append(bar,this.list,
element("div",{className:"bar"},zero)),this.
map=latents.dim<=WITH_MAP?new SmallMap(app,
ON_MAP3):null,this.map&&host.append(this.
map.element),this._showRows()}again(){this.
_stripsOf=null}refresh(){this.map?.show(),
this.move();let{z,context}=this.app.state,
key=[...z,...context,this.list.clientWidth].
join(",");key!==this._stripsOf&&(this._stripsOf=
key,clearTimeout(this._waiting),this._waiting=
setTimeout(()=>this._drawStrips(key),this.
_drawn?40:0))}move(){let{live}=this.app;
this.map?.mark();for(let{k,input,value}of this.
rows)(!(input===document.activeElement)||
Math.abs(Number(input.value)-live[k])>.02)&&
(input.value=String(live[k])),value.textContent=
shown(live[k],.01),input.setAttribute("a\
ria-valuetext",value.textContent)}leave(){
this._stripsOf=null,clearTimeout(this._waiting)}_pager(count){
let{app}=this,turn=step=>()=>{app.state.
page=(app.state.page+step+count)%count,this.
_showRows(),app.set({})},before=button("\
‹",turn(-1),{"aria-label":t`Previous latents`}),
after=button("›",turn(1),{"aria-label":t`Next latents`});
return this.pages=element("span",{className:"\
pages"}),element("div",{className:"pager"},
before,this.pages,after)}_showRows(){let{
order,dim}=this.app.contents.latents,first=this.
app.state.page*AT_ONCE;this.pages&&(this.
pages.textContent=t`${first+1}–${Math.
min(dim,first+AT_ONCE)} of ${dim}`),this.
rows=order.slice(first,first+AT_ONCE).map(
k=>this._row(k)),this.list.replaceChildren(
...this.rows.map(row=>row.element)),this.
_stripsOf=null}_row(k){let{measure,unit,
what,ranges}=this.app.contents.latents,[
low,high]=ranges[k],input=element("input",
{type:"range",min:low,max:high,step:(high-
low)/400,"aria-label":`z${k+1}, ${say(what)}\
 ${shown(measure[k])} ${say(unit)}`,oninput:()=>this.
_move(k,Number(input.value))}),strip=this.
_strip(k,low,high),frame=element("div",{
className:"strip"},strip),value=element(
"output"),told=shown(measure[k],.01),name=element(
"div",{className:"name"},text("b",`z${k+
1}`));name.append(text("small",unit?`${told}\
 ${say(unit)}`:t`var ${told}`));let middle=element(
"div",{},frame,input);return{k,low,high,
strip,frame,input,value,element:element(
"div",{className:"slider"},name,middle,value)}}_strip(k,low,high){
let{app}=this,strip=element("canvas",{"a\
ria-hidden":"true"}),valueAt=event=>{let frame=strip.
getBoundingClientRect(),share=Math.max(0,
Math.min(1,(event.clientX-frame.left)/frame.
width));return low+share*(high-low)};return strip.
addEventListener("pointerdown",event=>this.
_move(k,valueAt(event))),strip.addEventListener(
"pointermove",event=>{let z=app.space.moved(
app.state.z,k,valueAt(event));event.buttons?
app.set({z}):app.follow(z)}),strip.addEventListener(
"pointerleave",()=>app.follow(app.state.
z)),strip}_move(k,value){this.app.set({z:this.
app.space.moved(this.app.state.z,k,value)})}async _drawStrips(key){
let{app}=this,{designs}=app.world;this._drawn=
!0;for(let{k,low,high,strip,frame}of this.
rows){let points=Array.from({length:STRIP},
(_,i)=>app.space.moved(app.state.z,k,low+
(i+.5)/STRIP*(high-low))),values=await app.
many(points,()=>this._stripsOf===key);if(!values)
return;let w=frame.clientWidth,tile=w/STRIP,
h=Math.min(tile/designs.aspect,96),context=prepare(
strip,w,h),sheet=designs.sheet(values,STRIP);
context.clearRect(0,0,w,h);for(let i=0;i<
STRIP;i++)sheet.draw(context,i,fitted(designs.
aspect,tile-2,h,i*tile+1,0))}}};var DASHES=[[],[7,4],[2,3]];function strokeOf(i){
let{palette}=Theme,dashes=DASHES[Math.floor(
i/palette.length)%DASHES.length];return{
colour:palette[i%palette.length],dashes}}
function rangeOf(values){let low=1/0,high=-1/0;
for(let value of values)Number.isFinite(
value)&&(low=Math.min(low,value),high=Math.
max(high,value));if(low>high)return[0,1];
let room=.06*(high-low)||Math.abs(low)/10||
1;return[low-room,high+room]}var Chart=class{constructor(canvas,w,h,{
x,y,across,up}){this.context=prepare(canvas,
w,h),this.x=x,this.y=y,this.box={x:58,y:24,
w:w-70,h:h-66},this.context.clearRect(0,
0,w,h),this._frame(across,up)}place(x,y){
let{box}=this,right=(x-this.x[0])/(this.
x[1]-this.x[0]),up=(y-this.y[0])/(this.y[1]-
this.y[0]);return[box.x+right*box.w,box.
y+(1-up)*box.h]}_frame(across,up){let{context,
box}=this,{soft,line}=Theme.colours;context.
font=Theme.font(11),context.fillStyle=soft,
context.strokeStyle=line,context.lineWidth=
1,context.textBaseline="middle",context.
textAlign="right";for(let value of ticks(
...this.y,Math.max(2,Math.round(box.h/48)))){
let y=Math.round(this.place(this.x[0],value)[1])+
.5;y<box.y-1||y>box.y+box.h+1||(this._line(
[box.x,y],[box.x+box.w,y]),context.fillText(
shown(value),box.x-7,y))}context.textBaseline=
"top",context.textAlign="center";for(let value of ticks(
...this.x,Math.max(2,Math.round(box.w/80)))){
let x=Math.round(this.place(value,this.y[0])[0])+
.5;x<box.x-1||x>box.x+box.w+1||(this._line(
[x,box.y+box.h],[x,box.y+box.h+4]),context.
fillText(shown(value),x,box.y+box.h+8))}
context.font=Theme.font(11.5,600),context.
fillText(across,box.x+box.w/2,box.y+box.
h+25),context.textAlign="left",context.textBaseline=
"alphabetic",context.fillText(up,8,13)}_line(from,to){
this.context.beginPath(),this.context.moveTo(
...from),this.context.lineTo(...to),this.
context.stroke()}band(low,high,colour){let{
context}=this,known=Array.from(low.keys()).
filter(i=>Number.isFinite(low[i])&&Number.
isFinite(high[i]));context.beginPath();for(let i of known)
context.lineTo(...this.place(i+1,low[i]));
for(let i of known.reverse())context.lineTo(
...this.place(i+1,high[i]));context.closePath(),
context.globalAlpha=.15,context.fillStyle=
colour,context.fill(),context.globalAlpha=
1}line(points,colour,dashes=[],width=2){
let{context}=this,isDrawing=!1;context.beginPath();
for(let point2 of points){let isKnown2=point2.
every(Number.isFinite);isKnown2&&isDrawing?
context.lineTo(...this.place(...point2)):
isKnown2&&context.moveTo(...this.place(...point2)),
isDrawing=isKnown2}context.strokeStyle=colour,
context.lineWidth=width,context.lineJoin=
"round",context.setLineDash(dashes),context.
stroke(),context.setLineDash([])}dot(point2,colour,radius,opacity=1){
let{context}=this;point2.every(Number.isFinite)&&
(context.globalAlpha=opacity,context.beginPath(),
context.arc(...this.place(...point2),radius,
0,2*Math.PI),context.fillStyle=colour,context.
fill(),context.globalAlpha=1)}within(draw){
let{context,box}=this;context.save(),context.
beginPath(),context.rect(box.x,box.y,box.
w,box.h),context.clip(),draw(),context.restore()}words(words2,point2,colour){
let{context,box}=this,[x,y]=this.place(...point2);
context.font=Theme.font(11),context.fillStyle=
colour,context.textAlign="left",context.
textBaseline="bottom";let left=Math.min(
x,box.x+box.w-context.measureText(words2).
width),bottom=Math.max(box.y+12,y-3);context.
strokeStyle=Theme.colours.paper,context.
lineWidth=4,context.strokeText(words2,left,
bottom),context.fillText(words2,left,bottom)}};var EMPTY="Nothing is compared yet. Tick\
 designs in a table to lay up to four of\
 them side by side.",SIDE=180,WIDTH=260;
function toggle(app,key){let{tray}=app.state;
tray.includes(key)?app.set({tray:tray.filter(
one=>one!==key)}):tray.length<MOST_COMPARED?
app.set({tray:[...tray,key]}):app.toast(
t`Up to ${MOST_COMPARED} designs stand side by side; take one away first`)}
function compareTick(app,key,name){let box=element(
"input",{type:"checkbox",checked:app.state.
tray.includes(key),"aria-label":t`Compare ${name}`,
onchange:()=>{toggle(app,key),box.checked=
app.state.tray.includes(key)}});return box.
dataset.key=key,box}var Compared=class{_key=null;constructor(app,host){
this.app=app,this.isShort=!1,this.place=
element("div",{className:"compared"}),host.
append(text("h2",t`Side by side`),this.place)}again(){
this._key=null}refresh(){let{tray}=this.
app.state,key=[...tray,this.isShort,Theme.
dark].join("|");if(key===this._key)return;
this._key=key;for(let box of document.querySelectorAll(
"input[data-key]"))box.checked=tray.includes(
box.dataset.key);let items=tray.map(one=>itemOf(
this.app,one)).filter(Boolean);items.length?
this._show(items):this.place.replaceChildren(
note(say(EMPTY)))}_show(items){let{kind,
lines}=this.app.world.designs,table=element(
"table",{className:"side"});table.append(
element("thead",{},this._heads(items)),this.
_body(items));let words2=[t`Arrows say whether a value is above or below that of the first design.`];
lines&&words2.push(t`The first design lies over each of the others in the second colour.`),
kind==="image"&&words2.push(t`Below each stands what it has more (orange) and less (blue) than the first.`);
let parts=[scrolled(t`Designs side by side`,
table)];if(kind==="table"&&items.length>
1){let change=isOn=>{this.isShort=isOn,this.
refresh()};parts.unshift(element("div",{
className:"bar"},tick(t`Only what differs`,
this.isShort,change)))}items.length>1&&parts.
push(note(words2.join(" "))),this.place.
replaceChildren(...parts)}_heads(items){
let{app}=this,{kind}=app.world.designs,row=element(
"tr",{},element("td"));for(let item of items){
let go=button(item.name,()=>app.goTo(item.
z),{title:t`Go to its point`}),label=t`Take ${item.
name} out of the comparison`,out=button(
"×",()=>toggle(app,item.key),{className:"\
out",title:label,"aria-label":label}),head=element(
"th",{scope:"col"},element("div",{className:"\
head"},go,out));head.append(text("small",
item.about)),kind!=="table"&&head.append(
this._picture(item,items[0])),row.append(
head)}return row}_picture(item,first){let{
designs}=this.app.world,canvas=element("\
canvas",{role:"img","aria-label":t`The design ${item.
name}`});if(designs.lines){let size={w:WIDTH,
h:designs.lines.heightOf(WIDTH,WIDTH)},other=item===
first?null:first.values;return designs.lines.
plot(prepare(canvas,size.w,size.h),item.
values,other,size),canvas}let{w,h}=fitted(
designs.aspect,SIDE,SIDE),box={x:0,y:0,w,
h};if(item.draw(prepare(canvas,w,h),box),
item===first)return canvas;let label=t`The difference between ${item.
name} and ${first.name}`,beside=element(
"canvas",{role:"img","aria-label":label});
return drawDifference(prepare(beside,w,h),
item,first,box,designs),element("div",{},
canvas,beside)}_body(items){let{app}=this,
{designs}=app.world,body=element("tbody");
for(let column of responsesOf(app.world)){
let{name,unit}=column,values=items.map(item=>item.
valueOf(name)),digits3=stepOf(numbersOf(
column)),row=this._row(name,unit,values,
value=>shown(value,digits3),digits3);row&&
body.append(row)}return designs.kind!=="\
table"||designs.columns.forEach(({name,unit,
categories,low,high},k)=>{let values=items.
map(item=>designs.tidy(k,item.values[k])),
isWord=categories.length>0,digits3=isWord?
0:(high-low)/500,row=this._row(name,unit,
values,value=>designs.text(k,value),digits3,
isWord);row&&body.append(row)}),body}_row(name,unit,values,textOf,digits3,isWord=!1){
let signs=values.map(value=>isWord?+(value!==
values[0]):signOf(value-values[0],digits3));
if(this.isShort&&values.length>1&&signs.
every(sign=>!sign))return null;let small2=unit?
text("small",` ${unit}`):null,row=element(
"tr",{},element("th",{scope:"row"},text(
"span",name),small2));return values.forEach(
(value,i)=>{let cell=text("td",textOf(value),
{className:signs[i]?"number differs":"nu\
mber"});signs[i]&&!isWord&&cell.prepend(
text("span",signs[i]>0?"▲":"▼",{className:"\
arrow"})),row.append(cell)}),row}};function signOf(difference,digits3){
return Math.abs(difference)>digits3?Math.
sign(difference):0}function drawDifference(context,item,first,box,{
width,height}){let[own,other]=[item,first].
map(one=>pixelsOf(one,width,height)),picture=new ImageData(
width,height),[more,less]=[Theme.colours.
second,Theme.colours.accent].map(hexOf);
for(let at=0;at<own.length;at+=4){let difference=(own[at]+
own[at+1]+own[at+2]-other[at]-other[at+1]-
other[at+2])/3;picture.data.set([...difference>
0?more:less,Math.min(255,1.5*Math.abs(difference))],
at)}let small2=element("canvas",{width,height});
small2.getContext("2d").putImageData(picture,
0,0),context.fillStyle=Theme.colours.panel,
context.fillRect(box.x,box.y,box.w,box.h),
context.imageSmoothingEnabled=!1,context.
drawImage(small2,box.x,box.y,box.w,box.h)}
function pixelsOf(item,width,height){let context=element(
"canvas",{width,height}).getContext("2d");
return item.draw(context,{x:0,y:0,w:width,
h:height}),context.getImageData(0,0,width,
height).data}var SortedTable=class{constructor(host,label,heads,onsort){
this.heads=heads,this.onsort=onsort,this.
table=element("table",{className:"sorted"}),
host.append(scrolled(label,this.table))}show(places,sort,most){
let isDown=sort.startsWith("-"),head=this.
heads.find(({key,order})=>order&&key===sort.
replace(/^-/,"")),sorted=head?places.toSorted(
(a,b)=>compared(head.order(a),head.order(
b),isDown)):places,focused=this.table.contains(
document.activeElement)?document.activeElement.
id:"",row=element("tr",{},...this.heads.
map(one=>this._head(one,one===head,isDown))),
body=element("tbody",{},...sorted.slice(
0,most).map(i=>this._row(i)));this.table.
replaceChildren(element("thead",{},row),
body),focused&&document.getElementById(focused)?.
focus()}_head({key,name,unit,isNumber,order},isSorted,isDown){
let sorting=isDown?"descending":"ascendi\
ng",cell=element("th",{scope:"col",className:isNumber?
"number":""}),words2=[text("span",name),
unit?text("small",` ${unit}`):null];if(!order)
return cell.append(...words2.filter(Boolean)),
cell;cell.setAttribute("aria-sort",isSorted?
sorting:"none");let next=isSorted&&!isDown?
`-${key}`:key,press=button("",()=>this.onsort(
next),{id:`sort-${key}`,title:t`Sort by ${name}`});
return press.append(...words2.filter(Boolean),
text("i",arrowOf(isSorted,isDown),{"aria\
-hidden":"true"})),cell.append(press),cell}_row(i){
return element("tr",{},...this.heads.map(
({isNumber,cell})=>{let made=element("td",
{className:isNumber?"number":""});return made.
append(cell(i)),made}))}};function arrowOf(isSorted,isDown){
return isSorted?isDown?" ▼":" ▲":""}
function compared(a,b,isDown){let[lacksA,
lacksB]=[a,b].map(value=>typeof value=="\
number"&&!Number.isFinite(value));if(lacksA||
lacksB)return Number(lacksA)-Number(lacksB);
let order=typeof a=="number"&&typeof b==
"number"?a-b:String(a).localeCompare(String(
b),"en",{numeric:!0});return isDown?-order:
order}var AT_ONCE2=20,ON_MAP4=t`The evaluated designs on the map of the latent space; a click pins a point`,
REACH2=14,StudyView=class extends View{static key="\
study";static title="Study";_tableOf=null;static isFor({
study}){return!!study}static kept(){return{
sort:{start:"rank",read:text2=>text2}}}mount(host){
let{app}=this;this.study=app.world.study,
this.most=AT_ONCE2,this.axes=[0,1];let{objectives,
notes,validity}=this.study.contents;this.
best=element("canvas",{role:"img","aria-\
label":this._bestInWords()}),this.legend=
element("div",{className:"legend"}),this.
charts=element("div",{className:"charts"}),
this.charts.append(element("figure",{},text(
"figcaption",this._captionOfBest()),this.
best,this.legend)),objectives.length>1&&
this.charts.append(this._buildFront()),this.
said=element("p",{className:"note",role:"\
status"});let table=element("div");this.
more=element("div",{className:"bar"});let compared2=element(
"div");host.append(text("p",this._asked(),
{className:"asked"}),this.charts,text("h\
2",t`Evaluated designs, the best first`),
table,this.more,this.said,compared2),app.
contents.collapsed||this._buildMap(host);
for(let words2 of[validity.note,...notes])
host.append(note(say(words2)));this.table=
new SortedTable(table,t`Evaluated designs`,
this._heads(),sort=>app.set({sort})),this.
compared=new Compared(app,compared2)}_buildMap(host){
let{app}=this,place=element("div",{className:"\
map-place small"});host.append(text("h2",
t`On the map`),keyOfMarks(this.study),place),
this.map=new LatentMap(place,app.world,app.
hand),this.map.moving.setAttribute("role",
"img"),this.map.moving.setAttribute("ari\
a-label",ON_MAP4)}again(){this._key=null,
this.compared.again()}refresh(){let{app}=this,
key=[this.charts.clientWidth,this.axes,Theme.
dark,app.state.at].join("|");key!==this.
_key&&(this._key=key,this._drawBest(),this.
front&&this._drawFront());let tableOf2=[
app.state.sort,this.most].join("|");tableOf2!==
this._tableOf&&(this._tableOf=tableOf2,this.
_showTable()),this.compared.refresh(),this.
map?.show({...app.look(),study:this.study,
marks:"dots"}),this.move()}move(){let{live,
near,state}=this.app;this.map?.mark({z:live,
near:near.index,pins:state.pins})}_asked(){
let{name,objectives,constraints,designs}=this.
study.contents,asked=objectives.map(({name:response,
unit,goal})=>`${say(goal)} ${titled(response,
unit)}`).join(", "),count=t`${designs.total.
toLocaleString("en")} evaluations.`;return constraints.
length?`${t`${name}: ${asked} where ${constraints.
join("; ")}.`} ${count}`:`${name}: ${asked}\
. ${count}`}_captionOfBest(){return t`Best so far: median over seeds, and quartiles`}_bestInWords(){
let{label}=this.study.contents,ends=this.
study.searches.map(({name,median})=>`${name}\
 ${shown(median.at(-1))}`);return`${t`The best ${say(
label)} so far of each space.`} ${t`At the end: ${ends.
join(", ")}.`}`}_drawBest(){let{searches,
contents}=this.study,{label,known}=contents,
longest=Math.max(1,...searches.map(({median})=>median.
length)),values=searches.flatMap(({low,high})=>[
...low,...high]),chart=this._chart(this.
best,{x:[0,longest],y:rangeOf([...values,
known??Number.NaN]),across:t`evaluations`,
up:say(label)});if(searches.forEach(({low,
median,high},i)=>{let{colour,dashes}=strokeOf(
i);chart.band(low,high,colour),chart.line(
Array.from(median,(value,k)=>[k+1,value]),
colour,dashes)}),known!==null){let{soft}=Theme.
colours;chart.line([[0,known],[longest,known]],
soft,[5,4],1.2),chart.words(t`best known design`,
[longest,known],soft)}let items=searches.
map(({name,seeds,median},i)=>this._keyOf(
name,seeds,median,i));this.legend.replaceChildren(
...items)}_keyOf(name,seeds,median,i){let line=element(
"i",{className:"stroke"}),{colour,dashes}=strokeOf(
i);line.style.borderTop=`3px ${dashes.length?
"dashed":"solid"} ${colour}`;let last=median.
at(-1),reached=Number.isFinite(last)?shown(
last):t`none feasible in half of the seeds`,
of=seeds===1?t`1 seed`:t`${seeds} seeds`;
return element("span",{className:"key"},
line,text("span",`${name}: ${reached} (${of}\
)`))}_chart(canvas,axes){let w=Math.max(
240,Math.floor(canvas.parentElement.clientWidth));
return new Chart(canvas,w,Math.round(Math.
min(340,Math.max(240,.62*w))),axes)}_buildFront(){
let{objectives}=this.study.contents;this.
front=element("canvas",{role:"img","aria\
-label":this._frontInWords()}),this.front.
addEventListener("click",event=>this._pick(
event)),this.frontKey=element("div",{className:"\
legend"});let caption=text("figcaption",
t`Pareto front: feasible designs that no other one dominates`),
made=element("figure",{},caption,this.front,
this.frontKey);return objectives.length>
2&&made.append(this._choices()),made}_choices(){
let names=this.study.contents.objectives.
map(({name},k)=>[k,name]),change=axis=>value=>{
let other=this.axes[1-axis];this.axes[axis]=
Number(value),this.axes[0]===this.axes[1]&&
(this.axes[1-axis]=other===0?1:0),this.refresh()},
bar=element("div",{className:"bar"});return bar.
append(choice(t`across`,names,0,change(0)),
choice(t`up`,names,1,change(1))),bar}_frontInWords(){
let{front,knownFront}=this.study.contents;
return t`${front.length} evaluated designs on the Pareto front, beside ${knownFront.
length} known ones.`}_objectivesOf(i){let{
objectives}=this.study.contents;return this.
axes.map(axis=>{let column=this.study.responses[objectives[axis].
column];return column?numbersOf(column)[i]:
Number.NaN})}_drawFront(){let{objectives,
front,knownFront,designs}=this.study.contents,
[a,b]=this.axes.map(axis=>objectives[axis]),
isValid=i=>designs.state[i]!==INVALID;this.
points=Array.from({length:this.study.count},
(_,i)=>this._objectivesOf(i));let known=knownFront.
map(({values})=>this.axes.map(k=>values[k])),
reference=[a.reference,b.reference],shownPoints=[
...front.map(i=>this.points[i]),...known,
reference],chart=this._chart(this.front,
{x:rangeOf(shownPoints.map(([x])=>x)),y:rangeOf(
shownPoints.map(([,y])=>y)),across:titled(
a.name,a.unit),up:titled(b.name,b.unit)});
this.frontChart=chart;let{soft,ink,missing}=Theme.
colours;chart.line([[reference[0],chart.
y[0]],[reference[0],chart.y[1]]],soft,[5,
4],1.2),chart.line([[chart.x[0],reference[1]],
[chart.x[1],reference[1]]],soft,[5,4],1.2),
chart.words(t`reference`,reference,soft),
this._stairs(chart,known,missing,[3,3]);
for(let point2 of known)chart.dot(point2,
missing,3);chart.within(()=>{for(let i=0;i<
this.study.count;i++)isValid(i)&&chart.dot(
this.points[i],this._shade(i),2,.35)}),this.
_stairs(chart,front.map(i=>this.points[i]),
ink,[]);for(let i of front)chart.dot(this.
points[i],this._shade(i),3.5);this._showFrontKey(
missing)}_shade(i){let name=this.study.spaceOf(
i),at=this.study.searches.findIndex(search2=>search2.
name===name);return at<0?Theme.colours.soft:
strokeOf(at).colour}_stairs(chart,points,colour,dashes){
let{objectives}=this.study.contents;if(objectives.
length>2)return;let up=objectives[1].goal===
"min"?-1:1,sorted=points.toSorted(([x],[
other])=>objectives[0].goal==="min"?x-other:
other-x),stairs=[];for(let[x,y]of sorted){
let last=stairs.at(-1);last&&up*(y-last[1])<
0||(last&&stairs.push([x,last[1]]),stairs.
push([x,y]))}chart.line(stairs,colour,dashes,
1.2)}_showFrontKey(shade){let items=this.
study.searches.map(({name},i)=>keyWith(strokeOf(
i).colour,name));this.frontKey.replaceChildren(
...items,keyWith(shade,t`known designs`))}_pick(event){
let frame=this.front.getBoundingClientRect(),
here=[event.clientX-frame.left,event.clientY-
frame.top],best=-1,least=REACH2;this.points.
forEach((point2,i)=>{let[x,y]=this.frontChart.
place(...point2),away2=Math.hypot(x-here[0],
y-here[1]);away2<least&&(best=i,least=away2)}),
best>=0&&this._goTo(best)}_heads(){let{app,
study}=this,{designs}=study.contents,key=i=>keyOfDesign(
study.ids[i]),goTo=i=>button(study.ids[i],
()=>this._goTo(i),{title:study.placeOf(i)}),
responses=study.responses.map((column,k)=>{
let values=numbersOf(column),order=i=>values[i],
step=stepOf(values),cell=i=>shown(values[i],
step);return{key:`response-${k}`,name:column.
name,unit:column.unit,isNumber:!0,cell,order}}),
state=i=>this._state(i),number=(values,step=10*
stepOf(values))=>({isNumber:!0,cell:i=>shown(
values[i],step),order:i=>values[i]});return[
{key:"compare",name:t`compare`,cell:i=>compareTick(
app,key(i),study.ids[i])},{key:"rank",name:t`design`,
cell:goTo,order:i=>designs.rank[i]},...responses,
{key:"state",name:t`state`,cell:state,order:i=>designs.
state[i]},{key:"nearest",name:t`nearest known`,
cell:i=>rowName(designs.nearest[i]),order:i=>designs.
nearest[i]},{key:"distance",name:t`distance from it`,
...number(study.distance)},{key:"novelty",
name:t`novelty`,...number(study.novelty)}]}_state(i){
let{state,reasons}=this.study.contents.designs;
return text("span",say(STATES[state[i]]),
{className:`state-${STATES[state[i]]}`,title:reasons[i]})}_showTable(){
let{count,contents}=this.study,ranked=Array.
from({length:count},(_,i)=>i).toSorted((i,j)=>contents.
designs.rank[i]-contents.designs.rank[j]);
this.table.show(ranked,this.app.state.sort,
this.most),this.more.replaceChildren();let there=Math.
min(this.most,count);if(this.more.append(
text("span",t`${there} of ${count.toLocaleString(
"en")}`,{className:"pages"})),there<count){
let show=()=>{this.most+=5*AT_ONCE2,this.
refresh()};this.more.append(button(t`Show more`,
show))}}_goTo(i){let{app,study}=this;study.
hasPlace(i)&&app.goTo(study.cloud.point(
i));let reason=study.contents.designs.reasons[i],
why=reason?` ${t`It is invalid: ${reason}.`}`:
"";this.said.textContent=`${study.ids[i]}\
: ${study.placeOf(i)}${why}`}},titled=(name,unit)=>unit?
`${name} [${unit}]`:name;function keyWith(shade,words2){
let dot=element("i");return dot.style.background=
shade,element("span",{className:"key"},dot,
text("span",words2))}function spreadOf(numbers){let known=Array.
from(numbers).filter(Number.isFinite),mean=known.
reduce((sum,value)=>sum+value,0)/known.length,
square=known.reduce((sum,value)=>sum+(value-
mean)**2,0)/known.length;return Math.sqrt(
square)||1}function missOf(value,{range,
spread}){let below=(range.low??-1/0)-value,
above=value-(range.high??1/0);return Math.
max(0,below,above)/spread}var distanceFrom=(values,wanted)=>Math.
hypot(...wanted.map((one,k)=>missOf(values[k],
one)));var AT_ONCE3=20,AT_FIRST=6,HINT3="Choose\
 a response or a column, and say between\
 which values it shall lie. Until then t\
hese are known:",MEASURE2="A miss is in \
standard deviations of the known designs\
, or of the evaluated ones where only th\
ese have a value; of several ranges it i\
s the root of the sum of squares. Design\
s that lack a value, and invalid ones, a\
re left out.",TargetView=class extends View{static key="\
target";static title="Target";static isOfLatents=!0;_rowsOf=null;static isFor({
rows,event,study}){return!!study||event.
kind!=="image"||rows.columns.some(({name,
kind})=>kind==="number"&&name!==ERROR)}mount(host){
this.box=element("div",{className:"targe\
t",role:"group","aria-label":t`What is asked for`}),
this.more=element("div",{className:"bar"}),
this.said=element("p",{className:"asked",
role:"status"}),this.place=element("div");
let compared2=element("div");host.append(
this.box,this.more,this.said,this.place,
note(say(MEASURE2)),compared2),this.compared=
new Compared(this.app,compared2)}again(){
this.compared.again()}refresh(){let{target}=this.
app.state,names=target.map(({name})=>name).
join("|");names!==this._rowsOf&&this._build(
names);let key=JSON.stringify(target);key!==
this._key&&(this._key=key,this._show()),
this.compared.refresh()}get _quantities(){
let{quantities,study}=this.app.world,known=quantities.
filter(({name})=>name!==ERROR),names=new Set(
known.map(({name})=>name)),others=(study?.
responses??[]).filter(({name})=>!names.has(
name));return[...known,...others.map(ofDesigns)]}_find(wanted){
return this._quantities.find(({name})=>name===
wanted)}_build(names){let{target}=this.app.
state;this._rowsOf=names;let known=target.
filter(({name})=>this._find(name));this.
box.replaceChildren(...known.map(range=>this.
_row(range,this._find(range.name))));let chosen=new Set(
target.map(({name})=>name)),options=this.
_quantities.filter(({name})=>!chosen.has(
name)).map(({name,unit})=>[name,titled2(
name,unit)]),add=name=>{name&&this._set(
[...this.app.state.target,{name,low:null,
high:null}]),this.box.lastElementChild?.
querySelector("input").focus()};this.more.
replaceChildren(choice(t`Ask for`,[["","\
…"],...options],"",add))}_set(target){
this.app.set({target}),this.refresh()}_row(range,{
name,unit,numbers}){let[least,most]=extentOf(
numbers),step=stepOf(numbers),away2=button(
"×",()=>this._set(this.app.state.target.
filter(one=>one.name!==name)),{className:"\
out","aria-label":t`Leave ${name} out`}),
ends=[this._input(range,"low",t`from ${shown(
least,step)}`),this._input(range,"high",
t`to ${shown(most,step)}`)],title=element(
"span",{},text("b",name),unit?text("smal\
l",` ${unit}`):null);return element("div",
{className:"range-of"},title,...ends,away2)}_input({
name,...ends},end,placeholder){let label=end===
"low"?t`${name}, at least`:t`${name}, at most`,
value=ends[end]??"",input=element("input",
{type:"number",step:"any",placeholder,value,
"aria-label":label}),change=()=>{let number=input.
value===""?null:Number(input.value);this.
_set(this.app.state.target.map(one=>one.
name===name?{...one,[end]:number}:one))};
return input.addEventListener("input",change),
input}_show(){let asked=this.app.state.target.
filter(({name,low,high})=>this._find(name)&&
(low!==null||high!==null)),ranges=asked.
length?asked:this._open();this.place.replaceChildren();
let wanted=ranges.map(range=>({range,spread:spreadOf(
this._find(range.name).numbers)})),found=this.
_found(wanted);this.said.textContent=asked.
length?this._inWords(asked,found):say(HINT3);
let heads=this._heads(wanted,found);asked.
length||heads.pop(),new SortedTable(this.
place,t`Designs, the nearest first`,heads,
()=>{}).show([...found.keys()],"",AT_ONCE3)}_open(){
let chosen=this.app.state.target.filter(
({name})=>this._find(name));return(chosen.
length?chosen:this._quantities.slice(0,AT_FIRST)).
map(({name})=>name).map(name=>({name,low:null,
high:null}))}_found(wanted){let{study,cloud,
designs}=this.app.world,quantities=wanted.
map(({range})=>this._find(range.name)),isKnown2=({
name})=>this.app.world.quantities.some(one=>one.
name===name),rows=Array.from({length:cloud.
count},(_,i)=>{let values=quantities.map(
one=>isKnown2(one)?one.numbers[i]:Number.
NaN);return{key:keyOfRow(i),values}}),evaluated=(study?
study.ids.map((_,i)=>i).filter(i=>study.
contents.designs.state[i]!==INVALID):[]).
map(i=>{let own=study.sheet.values?designs.
part(study.sheet.values,i):null,read=({name,
column})=>own&&column>=0?own[column]:numberOf(
study.contents.designs.columns,name,i);return{
key:keyOfDesign(study.ids[i]),values:quantities.
map(read)}});return[...rows,...evaluated].
map(one=>({...one,miss:distanceFrom(one.
values,wanted)})).filter(({miss})=>Number.
isFinite(miss)).sort((a,b)=>a.miss-b.miss)}_inWords(ranges,found){
let asked=ranges.map(range=>wordsOf2(range,
this._find(range.name))).join(", "),met=found.
filter(({miss})=>miss===0),known=met.filter(
({key})=>key.startsWith("r:")).length,evaluated=met.
length-known,wanted=t`Asked for: ${asked}.`;
if(!found.length)return`${wanted} ${t`No design on this page has a value of each.`}`;
if(!met.length){let nearest=shown(found[0].
miss,.01),miss=t`Nothing meets all of it: the nearest design misses by ${nearest} standard deviations.`;
return`${wanted} ${miss}`}let[old,young]=[
known,evaluated].map(count=>count.toLocaleString(
"en"));return this.app.world.study?`${wanted}\
 ${t`${old} known and ${young} evaluated designs meet all of it.`}`:
`${wanted} ${t`${old} known designs meet all of it.`}`}_heads(wanted,found){
let{app}=this,items=i=>itemOf(app,found[i].
key),values=wanted.map((one,k)=>{let{name,
unit,numbers}=this._find(one.range.name),
step=stepOf(numbers),cell=i=>{let value=found[i].
values[k],isMissed=missOf(value,one)>0;return text(
"span",shown(value,step),{className:isMissed?
"missed":"",title:isMissed?t`missed`:""})};
return{key:`value-${k}`,name,unit,isNumber:!0,
cell}}),goTo=i=>{let{name,z}=items(i);return button(
name,()=>app.goTo(z),{title:t`Go to its point`})},
miss=i=>found[i].miss?shown(found[i].miss,
.01):t`met`;return[{key:"compare",name:t`compare`,
cell:i=>this._tick(items(i))},{key:"name",
name:t`design`,cell:goTo},{key:"about",name:"",
cell:i=>items(i).about},...values,{key:"\
miss",name:t`miss`,isNumber:!0,cell:miss}]}_tick({
key,name}){return compareTick(this.app,key,
name)}};function ofDesigns(column){let numbers=numbersOf(
column);return{name:column.name,unit:column.
unit??"",column:-1,numbers}}var titled2=(name,unit)=>unit?
`${name} [${unit}]`:name;function wordsOf2({
name,low,high},{unit}){let after=unit?` ${unit}`:
"";return low===null?t`${name} at most ${shown(
high)}${after}`:high===null?t`${name} at least ${shown(
low)}${after}`:t`${name} from ${shown(low)} to ${shown(
high)}${after}`}var VIEWS=[MapView,SlidersView,MorphView,
GridView,SamplesView,RebuiltView,NumbersView,
TargetView,StudyView];var POINT_KEYS=[["Arrow keys","on the ma\
p: move the point, with Shift further; o\
n pictures: go from one to the next"],["\
Enter or P","pin the point"],["X","take \
the last pin away"],["N","go to the near\
est example"],["+, −, 0","on the map: \
larger, smaller, all of it; so do wheel,\
 pinch and double click"],["Space","in a\
 morph: play to and fro, or pause"],["Dr\
ag","on the map: move it; with Shift sel\
ect examples, Escape selects none"],["/",
"on the map: find an example"]],PICTURE_KEYS=[
["Arrow keys","on pictures: go from one \
to the next"]],HINT4="Each point of the \
latent space decodes to a design. Move t\
he pointer over the map and the design f\
ollows; a click pins the point and keeps\
 it. Fog lies where there are no data: w\
hat is decoded there is extrapolated.",NO_MAP="\
The model has collapsed: every point of \
its latent space decodes to the same des\
ign, so that there is no map of it.",TOWARDS={
ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[
0,1],ArrowDown:[0,-1]},MOST_RESPONSES=6,
TOLD=["label","response"],WRITTEN_INTO="\
input:not([type=range]):not([type=checkb\
ox]), select, textarea",dialog=()=>byId(
"help"),App=class{tell=null;view=null;_planes=new Map;_insideOf=null;_inside=null;_chosen=null;_chosenOf=[];_colouring=null;_wanted=0;_shown=-1;constructor(contents,decoder){
this.contents=contents,this.decoder=decoder,
Theme.palettes=contents.palettes,this.views=
VIEWS.filter(view=>(!contents.collapsed||
!view.isOfLatents)&&view.isFor(contents)),
this.space=spaceOf(contents.latents),this.
first=contents.collapsed?RebuiltView:this.
views[0],this.hand={describe:i=>this.describe(
i),about:()=>this.state.z,follow:z=>this.
follow(z),leave:()=>this.follow(this.state.
z),choose:z=>this.pin(z),keep:z=>this.set(
{z})}}async start(){let{contents}=this;this.
world=await worldOf(contents,i=>this._rebuilt(
i),()=>this.schedule(!1)),this._addresses=
new Address(this),this.state=this._addresses.
start(),this._readAddress(),this.live=this.
state.z,this.near=this.nearest(this.live),
byId("title").textContent=contents.title,
byId("summary").textContent=say(contents.
summary),this._warn(contents.numbers.warnings),
this._buildTools(),this._buildTabs(),this.
_buildHelp(),this._applyTheme(),this.panel=
new Panel(this,byId("design")),this.open(
this.state.view),this._listen(),await this.
_decodeLive()}_warn(sentences){let host=byId(
"warnings");host.hidden=!sentences.length;
for(let sentence of sentences)host.append(
element("p",{},text("b",`${t`Warning.`} `),
...unbroken(say(sentence))))}_listen(){new ResizeObserver(
()=>this.schedule(!0)).observe(byId("vie\
w")),matchMedia("(prefers-color-scheme: \
dark)").addEventListener("change",()=>this.
_applyTheme()),addEventListener("hashcha\
nge",()=>{location.hash!==this._address&&
(this._readAddress(),this._applyTheme(),
this.set({}),this.open(this.state.view))}),
document.addEventListener("keydown",event=>this.
_shortcut(event)),byId("skip").addEventListener(
"click",event=>{event.preventDefault(),byId(
"view").focus()})}set(changes){Object.assign(
this.state,changes),this.state.z=this.space.
nearest(this.state.z),this.live=this.state.
z,this.schedule(!0),clearTimeout(this._writing),
this._writing=setTimeout(()=>this._writeAddress(),
200)}follow(z){this.live=this.space.nearest(
z),this.schedule(!1)}pin(at){let z=this.
space.nearest(at),{pins}=this.state;pins.
length<MOST_PINS?this.set({z,pins:[...pins,
z]}):(this.set({z}),this.toast(t`The page keeps ${MOST_PINS} pins: save them as a file, or take one away`))}unpin(at){
let pins=this.state.pins.filter((_,i)=>i!==
at),labels=this.state.labels.filter((_,i)=>i!==
at);this.set({pins,labels,morph:{...this.
state.morph,a:0,b:1}})}schedule(isWhole){
this._isWhole||=isWhole,this._wanted++,!this.
_frame&&(this._frame=requestAnimationFrame(
()=>this._draw()))}_draw(){let isWhole=this.
_isWhole;this._frame=0,this._isWhole=!1,
this.near=this.nearest(this.live),isWhole?
(this.view.refresh(),this.panel.refresh()):
this.view.move(),this._decodeLive()}async _decodeLive(){
if(!this._busy){this._busy=!0;try{for(;this.
_shown!==this._wanted;){let wanted=this.
_wanted,live=this.live,{context,spread}=this.
state;this.values=await this.decode(live);
let deviations=spread?await this.decoder.
spread(live,context.length?context:null):
null;this._shown=wanted,this.panel.show(
live,this.values,deviations),this._say(live)}}catch(error){
this.toast(t`The decoder failed: ${error.
message}`)}this._busy=!1}}decode(codes,context=this.
state.context){return this.decoder.decode(
codes,context.length?context:null)}_rebuilt(i){
let{designs,cloud,columns}=this.world,context=contextOf(
this.contents.conditions,columns,i);if(!context)
return null;let values=this.decoder.decode(
cloud.point(i),context.length?context:null);
return values instanceof Promise?values.
then(later=>designs.sheet(later,1)):designs.
sheet(values,1)}nearest(z){return this.world.
nearness.nearest(z,this.state.context)}async many(points,isWanted,contexts=null){
let{dim}=this.contents.latents,{size}=this.
world.designs,width=this.state.context.length,
values=new Float32Array(points.length*size),
done=0,atOnce=8;for(;done<points.length;){
let some=points.slice(done,done+atOnce),
codes=new Float32Array(some.length*dim);
some.forEach((z,i)=>{codes.set(z,i*dim)});
let before=performance.now(),context=contexts?.
subarray(done*width,(done+some.length)*width);
if(values.set(await this.decode(codes,context),
done*size),!isWanted())return null;done+=
some.length;let took=performance.now()-before;
if(took<6&&(atOnce*=2),took>14&&(atOnce=
Math.max(1,atOnce>>1)),done<points.length&&
took>3&&await new Promise(resolve=>setTimeout(
resolve)),!isWanted())return null}return values}look(){
let{marks,fog,fogOf,designs,z:about}=this.
state,study=designs?this.world.study:null,
validity=fogOf==="validity"?this.world.study?.
validity??null:null;return{plane:this.plane(),
colour:this.colour(),marks,fog,chosen:this.
chosen(),study,validity,about}}colour(){
let key=`${this.state.colour}|${Theme.dark}`;
return this._colouring?.key!==key&&(this.
_colouring={key,colour:colouring(this.world,
this.state.colour)}),this._colouring.colour}chosen(){
let{only,selection}=this.state,[inside,plane,
colour]=[this.inside(),this.plane(),this.
colour()],depends=[inside,plane,only<0?null:
colour,only,selection];if(depends.some((value,k)=>value!==
this._chosenOf[k])){this._chosenOf=depends;
let isAll=!inside&&!selection&&(only<0||
!colour);this._chosen=isAll?null:this._whichAreChosen()}
return this._chosen}_whichAreChosen(){let{
only,selection}=this.state,{cloud}=this.
world,[inside,colour]=[this.inside(),this.
colour()],places=this.plane().placesOf(cloud);
return Uint8Array.from({length:cloud.count},
(_,i)=>{let isIn=!inside||inside[i]===1,
isOfGroup=only<0||!colour||colour.group(
i)===only,isSelected=!selection||isWithin(
selection,places[2*i],places[2*i+1]);return isIn&&
isOfGroup&&isSelected?1:0})}chosenExamples(){
let chosen=this.chosen(),every=Array.from(
{length:this.world.cloud.count},(_,i)=>i);
return chosen?every.filter(i=>chosen[i]===
1):every}inside(){let{limits}=this.state;
return limits!==this._insideOf&&(this._insideOf=
limits,this._inside=within(this.world.quantities,
limits,this.world.cloud.count)),this._inside}plane(){
let{plane}=this.state;if(this._planes.has(
plane))return this._planes.get(plane);let{
latents,plane:pca,embedding}=this.contents,
made=plane===PICTURE?new Picture(embedding.
name,floatsOf(embedding.places),this.world.
cloud):curvedPlane(plane,latents)??Plane.
named(plane,latents,pca);return made instanceof
Globe&&this._planes.clear(),this._planes.
set(plane,made),made}nameOf(i){let{label}=this.
world,category=label?.categories[numbersOf(
label)[i]];return[rowName(this.contents.
rows.names?.[i]),category].filter(Boolean).
join(", ")}describe(i){let{colour}=this.
state,isTold=({name,role})=>TOLD.includes(
role)||name===colour,columns=this.world.
columns.filter(isTold);return{name:rowName(
this.contents.rows.names?.[i])??t`example ${i+
1}`,facts:columns.map(column=>[titleOf(column),
wordsOf(column,i)])}}responsesOf(i){return this.
world.columns.filter(({role})=>role==="r\
esponse").slice(0,MOST_RESPONSES).map(column=>`${column.
name} ${wordsOf(column,i)}`).join(", ")}open(key){
let host=byId("view");host.replaceChildren(),
this.state.view=key,document.body.dataset.
view=key,this.view?.leave();let Kind=this.
views.find(view=>view.key===key);this.view=
new Kind(this),this.view.mount(host);for(let tab of byId(
"tabs").querySelectorAll("button")){let isOn=tab.
id===`tab-${key}`;tab.setAttribute("aria\
-selected",String(isOn)),tab.tabIndex=isOn?
0:-1,isOn&&tab.scrollIntoView?.({block:"\
nearest",inline:"nearest"})}host.setAttribute(
"aria-labelledby",`tab-${key}`),this.set(
{})}arrows(event,map){let{z}=this.state,
{plane}=map.look,step=(event.shiftKey?40:
8)/map.scale,towards=TOWARDS[event.key];
if(event.key==="Enter")this.pin(this.live);else if(towards)
this.set({z:plane.beside(z,towards,step)});else
return;event.preventDefault()}_shortcut(event){
let{target}=event;if(event.ctrlKey||event.
metaKey||event.altKey||dialog().open||target instanceof
Element&&target.matches(WRITTEN_INTO))return;
let at=Number(event.key);if(at>=1&&at<=this.
views.length)this.open(this.views[at-1].
key);else if(event.key==="p")this.pin(this.
live);else if(event.key==="x")this.unpin(
this.state.pins.length-1);else if(event.
key==="n")this.toNearest();else if(event.
key==="t")this._nextTheme();else if(event.
key==="l")this._copyLink();else if(event.
key==="i")this.savePicture();else if(event.
key==="?")dialog().showModal();else if(!this.
view.press(event.key))return;event.preventDefault()}toNearest(){
let{cloud}=this.world;this.set({z:cloud.
point(this.nearest(this.live).index)})}goTo(z){
let context=this.contents.study?.context??
[];this.set(context.length?{z,context:Float32Array.
from(context)}:{z})}_say(z){clearTimeout(
this._saying),this._saying=setTimeout(()=>{
byId("said").textContent=this._wordsOf(z)},
700)}_wordsOf(z){let where=Array.from(z.
slice(0,6),(value,k)=>`z${k+1} ${value.toFixed(
2)}`).join(", ");if(this.contents.collapsed)
return where;let near=this.nearest(z),{name,
facts}=this.describe(near.index),known=facts.
map(([what,words2])=>`; ${what} ${words2}`).
join("");return t`${where}. Nearest example ${name}, ${away(
near.distance)}${known}.`}toast(words2){
byId("toast").textContent=words2,byId("t\
oast").classList.add("on"),clearTimeout(
this._toasting),this._toasting=setTimeout(
()=>byId("toast").classList.remove("on"),
2600)}_buildTabs(){let host=byId("tabs");
for(let{key,title}of this.views){let roles={
id:`tab-${key}`,role:"tab","aria-control\
s":"view"};host.append(button(say(title),
()=>this.open(key),roles))}host.addEventListener(
"keydown",event=>{let step={ArrowRight:1,
ArrowLeft:-1}[event.key]??0;if(!step)return;
let at=this.views.findIndex(({key:key2})=>key2===
this.state.view),{key}=this.views[(at+step+
this.views.length)%this.views.length];this.
open(key),byId(`tab-${key}`).focus(),event.
preventDefault()})}_buildTools(){this.themeButton=
button("",()=>this._nextTheme(),{title:t`Light, dark, or as the system says (T)`}),
byId("tools").append(button(t`Save picture`,
()=>this.savePicture(),{title:t`Save this view as a PNG file (I)`}),
button(t`Copy link`,()=>this._copyLink(),
{title:t`Copy the address of what you see (L)`}),
this.themeButton,button("?",()=>dialog().
showModal(),{title:t`Keys and hints (?)`})),
this.tour=new Tour(this,byId("tools"))}_buildHelp(){
let{collapsed}=this.contents,keys=[[`1 …\
 ${this.views.length}`,"open a view"],...collapsed?
PICTURE_KEYS:POINT_KEYS,["T","light or d\
ark"],["L","copy the address of what you\
 see"],["I","save this view as a picture"],
["?","this list"]],list2=element("dl",{className:"\
keys"});for(let[key,words2]of keys)list2.
append(element("dt",{},text("kbd",say(key))),
text("dd",say(words2)));byId("help").append(
text("h2",t`How to explore`,{id:"help-ti\
tle"}),text("p",say(collapsed?NO_MAP:HINT4)),
list2,element("form",{method:"dialog"},text(
"button",t`Close`)))}_nextTheme(){this.state.
theme=THEMES[(THEMES.indexOf(this.state.
theme)+1)%THEMES.length],this._applyTheme(),
this.set({})}_applyTheme(){let{theme}=this.
state;theme==="auto"?delete document.documentElement.
dataset.theme:document.documentElement.dataset.
theme=theme,this.themeButton.textContent=
say(theme[0].toUpperCase()+theme.slice(1)),
this.themeButton.setAttribute("aria-labe\
l",t`Theme: ${say(theme)}`),Theme.read(),
this.view&&(this.view.again(),this.panel.
again(),this.schedule(!0))}_readAddress(){
Object.assign(this.state,this._addresses.
read(location.hash))}_writeAddress(){this.
_address=this._addresses.write(this.state);
try{history.replaceState(null,"",this._address)}catch{}}async _copyLink(){
this._writeAddress();try{await navigator.
clipboard.writeText(location.href.split(
"#")[0]+this._address),this.toast(t`The address of this view is copied`)}catch{
this.toast(t`The address bar holds the address of this view`)}}saveDesign(kind){
let{event}=this.contents,{designs}=this.
world,file=kind==="npy"?npyOf(this.values,
event.shape):csvOf(designs.cells(this.values));
this.save(file,`design.${kind}`)}async savePicture(){
let{view}=this.state;this.save(await pictureOfPage(
view),`${view}.png`)}save(file,name){save(
file,name),this.toast(t`Saved ${name}`)}};
async function worldOf({event,rows,latents,
conditions,study},rebuilt,ready){let designs=new Designs(
event),{columns,count}=rows;rows.names??=
rows.numbers?.map(number=>`row ${number}`)??
null;let sheet=await designs.examples(rows),
thumbnails=new Thumbnails(sheet.draw,rows.
picture?.rows??null,count,rebuilt,ready),
isReal=i=>thumbnails.isReal(i),examples={
draw:(context,i,box)=>thumbnails.draw(context,
i,box),values:sheet.values,isReal},cloud=new Cloud(
floatsOf(rows.means),latents.dim);return{
designs,quantities:quantitiesOf(designs,
columns,examples.values),cloud,nearness:new Nearness(
cloud,conditions,columns),columns,examples,
label:columns.find(column=>column.kind===
"category"&&column.name!=="split"),order:shuffled(
count).sort((a,b)=>Number(isReal(b))-Number(
isReal(a))),rowsNote:noteOf(rows),study:study?
await Study.of(study,designs,latents.dim):
null}}function noteOf({count,total,picture}){
let said=number=>number.toLocaleString("\
en"),notes=[];return count<total&&notes.
push(t`${said(count)} of ${said(total)} rows are shown, drawn at random with a fixed seed.`),
picture?.rows&&notes.push(t`The page holds pictures of ${said(
picture.rows.length)} rows; others are shown as the model rebuilds them.`),
notes.join(" ")}var DENSE_WASM="AGFzbQEAAAABDQFgCX9/f39/\
f39/fwADAgEABQMBAAEHEgIGbWVtb3J5AgAFZGVu\
c2UAAAroBAHlBAIJfwt7AkADQCAHRQ0BIAghCSAA\
IQogBSELAkADQCAJQQRIDQEgCiEOIA4gAmohDyAP\
IAJqIRAgECACaiERIBEgAmohCiAE/QAEACEVIAT9\
AAQQIRYgFSEXIBYhGCAVIRkgFiEaIBUhGyAWIRwg\
BEEgaiEMIAMhDQNAIAz9AAQAIRIgDP0ABBAhEyAO\
/QkCACEUIBUgFCAS/eYB/eQBIRUgFiAUIBP95gH9\
5AEhFiAP/QkCACEUIBcgFCAS/eYB/eQBIRcgGCAU\
IBP95gH95AEhGCAQ/QkCACEUIBkgFCAS/eYB/eQB\
IRkgGiAUIBP95gH95AEhGiAR/QkCACEUIBsgFCAS\
/eYB/eQBIRsgHCAUIBP95gH95AEhHCAOIAFqIQ4g\
DyABaiEPIBAgAWohECARIAFqIREgDEEgaiEMIA1B\
AWsiDQ0ACyALIBX9CwQAIAsgFv0LBBAgCyAGaiEL\
IAsgF/0LBAAgCyAY/QsEECALIAZqIQsgCyAZ/QsE\
ACALIBr9CwQQIAsgBmohCyALIBv9CwQAIAsgHP0L\
BBAgCyAGaiELIAlBBGshCQwACwsCQANAIAlFDQEg\
CiEOIAogAmohCiAE/QAEACEVIAT9AAQQIRYgBEEg\
aiEMIAMhDQNAIA79CQIAIRQgFSAUIAz9AAQA/eYB\
/eQBIRUgFiAUIAz9AAQQ/eYB/eQBIRYgDiABaiEO\
IAxBIGohDCANQQFrIg0NAAsgCyAV/QsEACALIBb9\
CwQQIAsgBmohCyAJQQFrIQkMAAsLIAQgA0EBakEF\
dGohBCAFQSBqIQUgB0EBayEHDAALCws=",LANES=8,
WasmMemory=class{constructor(){let{memory,
dense}=new WebAssembly.Instance(new WebAssembly.
Module(bytesOf(DENSE_WASM))).exports;this.
name="wasm-simd",this.memory=memory,this.
dense=dense,this.floats=new Float32Array(
this.memory.buffer)}grow(floats){this.memory.
grow(Math.ceil((floats-this.floats.length)/
16384)),this.floats=new Float32Array(this.
memory.buffer)}},PlainMemory=class{constructor(){
this.name="js",this.floats=new Float32Array(
16384)}grow(floats){let more=new Float32Array(
Math.max(floats,this.floats.length*1.5));
more.set(this.floats),this.floats=more}dense(x,step,stride,inputs,weights,y,row,blocks,examples){
let f=this.floats,perInput=step>>2;for(let block=0;block<
blocks;block++)for(let example=0;example<
examples;example++){let w=(weights>>2)+block*
(inputs+1)*LANES,p=x+example*stride>>2,a=f[w],
b=f[w+1],c=f[w+2],d=f[w+3],e=f[w+4],g=f[w+
5],h=f[w+6],i=f[w+7];for(let n=0;n<inputs;n++,
p+=perInput){let value=f[p];w+=LANES,a+=
value*f[w],b+=value*f[w+1],c+=value*f[w+
2],d+=value*f[w+3],e+=value*f[w+4],g+=value*
f[w+5],h+=value*f[w+6],i+=value*f[w+7]}let to=(y+
example*row>>2)+block*LANES;f[to]=a,f[to+
1]=b,f[to+2]=c,f[to+3]=d,f[to+4]=e,f[to+
5]=g,f[to+6]=h,f[to+7]=i}}};function memoryOf(kernel){
if(kernel!=="js")try{return new WasmMemory}catch(error){
if(kernel)throw error}return new PlainMemory}
var Products=class{constructor(kernel){this.
memory=memoryOf(kernel),this.used=0,this.
behind=0}keep(outputs,inputs,values,perOutput,perInput,bias){
let blocks=Math.ceil(outputs/LANES),start2=this.
used;this.used+=blocks*(inputs+1)*LANES,
this.room(0);let{floats}=this.memory;for(let output=0;output<
outputs;output++){let place=start2+Math.
floor(output/LANES)*(inputs+1)*LANES+output%
LANES,from=output*perOutput;floats[place]=
bias?bias[output]:0;for(let input=0;input<
inputs;input++,from+=perInput)place+=LANES,
floats[place]=values[from]}return{start:start2,
inputs,outputs,blocks,row:blocks*LANES}}room(floats){
this.used+floats>this.memory.floats.length&&
this.memory.grow(this.used+floats)}inputs(layer,floats,examples){
return this.behind=this.used+floats,this.
room(floats+examples*layer.row),this.memory.
floats.subarray(this.used,this.behind)}run({
start:start2,inputs,blocks,row},step,stride,examples){
let{used,behind}=this;return this.memory.
dense(4*used,4*step,4*stride,inputs,4*start2,
4*behind,4*row,blocks,examples),this.memory.
floats.subarray(behind,behind+examples*row)}};var product2=numbers=>numbers.reduce((a,b)=>a*
b,1);function normalCdf(x){let t2=1/(1+.3275911*
Math.abs(x)/Math.SQRT2),tail=t2*(.254829592+
t2*(-.284496736+t2*(1.421413741+t2*(-1.453152027+
t2*1.061405429))))*Math.exp(-x*x/2)/2;return x>
0?1-tail:tail}var sigmoid=x=>1/(1+Math.exp(
-x)),softplus=x=>Math.max(x,0)+Math.log1p(
Math.exp(-Math.abs(x))),rounded=x=>Math.
abs(x%1)===.5?2*Math.round(x/2):Math.round(
x);function atLeastHalf(x){return Number.
isNaN(x)?x:x>=.5?1:0}var FUNCTIONS={relu:x=>Math.
max(x,0),tanh:Math.tanh,elu:x=>x>0?x:Math.
expm1(x),"leaky-relu":x=>x>0?x:.01*x,gelu:x=>x*
normalCdf(x),silu:x=>x*sigmoid(x),softplus,
sigmoid,exp:Math.exp,log1p:Math.log1p,square:x=>x*
x,sqrt:Math.sqrt,round:rounded,step:atLeastHalf,
"is-zero":x=>x===0?1:0,"is-missing":x=>Number.
isNaN(x)?1:0},within3=(x,[least,most])=>Math.
min(Math.max(x,least),most);function logisticMean(rawLocation,logScale,{
count:levels,locations,log_scales:logScales}){
let scale=Math.exp(within3(logScale,logScales)),
location2=within3(sigmoid(rawLocation),locations),
edge=.5/levels;if(levels>=64){let integral=softplus(
(location2-edge)/scale)-softplus((location2-
1+edge)/scale);return levels*scale*integral/
(levels-1)}let total=0;for(let level=1;level<
levels;level++)total+=sigmoid((location2-
level/levels)/scale);return total/(levels-
1)}function logisticVariance(rawLocation,logScale,{
count:levels,locations,log_scales:logScales}){
let scale=Math.exp(within3(logScale,logScales)),
location2=within3(sigmoid(rawLocation),locations),
total=0,passed=0;for(let level=1;level<levels;level++){
let distance2=(location2-level/levels)/scale,
below=sigmoid(-distance2);total+=sigmoid(
distance2)*(below+2*passed),passed+=below}
return total/(levels-1)**2}function meanLevel(logits){
let greatest=logits[likeliest(logits)],total=0,
sum=0;for(let k=0;k<logits.length;k++){let share=Math.
exp(logits[k]-greatest);total+=share,sum+=
share*k}return sum/total/(logits.length-
1)}function levelVariance(logits){let greatest=logits[likeliest(
logits)],mean=meanLevel(logits),total=0,
sum=0;for(let k=0;k<logits.length;k++){let share=Math.
exp(logits[k]-greatest);total+=share,sum+=
share*(k/(logits.length-1)-mean)**2}return sum/
total}var OF_LEVELS={mean:meanLevel,variance:levelVariance,
likeliest},OF_LOGISTIC={logistic:logisticMean,
"logistic-variance":logisticVariance};function likeliest(logits){
let best=0;for(let k=1;k<logits.length;k++)
logits[k]>logits[best]&&(best=k);return best}
var STEPS4={dense({layer},h,{products}){
products.inputs(layer,h.data.length,h.count).
set(h.data);let sums=products.run(layer,
1,layer.inputs,h.count),data=new Float32Array(
h.count*layer.outputs);for(let i=0;i<h.count;i++){
let outputs=sums.subarray(i*layer.row,i*
layer.row+layer.outputs);data.set(outputs,
i*layer.outputs)}return{...h,data,shape:[
layer.outputs]}},convolve(step,h,{products}){
let{layer,kernel,stride,padding}=step,[channels,
...sides]=h.shape,grid=sides.map((side,k)=>Math.
floor((side+2*padding[k]-kernel[k])/stride[k])+
1),plane=product2(sides),pixels=product2(
grid),data=new Float32Array(h.count*layer.
outputs*pixels);step.map??=windows(grid,
sides,step);for(let i=0;i<h.count;i++){let image=h.
data.subarray(i*channels*plane,(i+1)*channels*
plane);gather(products.inputs(layer,layer.
inputs*pixels,pixels),image,step.map,channels,
plane,pixels);let sums=products.run(layer,
pixels,1,pixels);for(let o=0;o<layer.outputs;o++){
let to=(i*layer.outputs+o)*pixels;for(let p=0;p<
pixels;p++)data[to+p]=sums[p*layer.row+o]}}
return{...h,data,shape:[layer.outputs,...grid]}},
"convolve-transposed"(step,h,{products}){
let{layer,kernel,stride,padding,output_padding:more,
bias}=step,[channels,...grid]=h.shape,sides=grid.
map((side,k)=>(side-1)*stride[k]-2*padding[k]+
kernel[k]+more[k]),pixels=product2(grid),
plane=product2(sides),inputs=channels*pixels,
outputs=layer.outputs/product2(kernel),data=new Float32Array(
h.count*outputs*plane);if(step.map??=windows(
grid,sides,step),bias)for(let o=0;o<h.count*
outputs;o++)data.fill(bias[o%outputs],o*
plane,(o+1)*plane);for(let i=0;i<h.count;i++){
products.inputs(layer,inputs,pixels).set(
h.data.subarray(i*inputs,(i+1)*inputs));
let sums=products.run(layer,pixels,1,pixels),
image=data.subarray(i*outputs*plane,(i+1)*
outputs*plane);addUp(image,sums,step.map,
layer.row,outputs,plane,pixels)}return{...h,
data,shape:[outputs,...sides]}},map(step,h){
let call=FUNCTIONS[step.function],{data}=h;
for(let i=0;i<data.length;i++)data[i]=call(
data[i]);return h},"continuous-bernoulli"({
near,series},h){let{data}=h,byFormula=x=>1/
(1-Math.exp(-x))-1/x,bySeries=x=>series.
reduceRight((sum,coefficient)=>sum*x+coefficient);
for(let i=0;i<data.length;i++){let x=data[i];
data[i]=Math.abs(x)<near?bySeries(x):byFormula(
x)}return h},"continuous-bernoulli-varia\
nce"({near,series},h){let{data}=h,byFormula=x=>1/
(x*x)-Math.exp(-x)/Math.expm1(-x)**2,bySeries=x=>series.
reduceRight((sum,coefficient)=>sum*x+coefficient);
for(let i=0;i<data.length;i++){let x=Math.
abs(data[i]);data[i]=x<near?bySeries(x):
byFormula(x)}return h},gate(_step,h){let half=product2(
h.shape)/2,data=new Float32Array(h.count*
half);for(let to=0;to<data.length;to++){
let from=to+Math.floor(to/half)*half;data[to]=
h.data[from]*sigmoid(h.data[from+half])}
return{...h,data,shape:[h.shape[0]/2,...h.
shape.slice(1)]}},normalise({weight,bias,
eps},h){let size=product2(h.shape),each=size/
weight.length;for(let i=0;i<h.count;i++){
let data=h.data.subarray(i*size,(i+1)*size),
mean=0,variance=0;for(let value of data)
mean+=value/size;for(let value of data)variance+=
(value-mean)**2/size;let per=1/Math.sqrt(
variance+eps);for(let k=0;k<size;k++){let place=Math.
floor(k/each);data[k]=(data[k]-mean)*per*
weight[place]+bias[place]}}return h},add:({
value},h)=>broadcast(h,value,(x,other)=>x+
other),multiply:({value},h)=>broadcast(h,
value,(x,other)=>x*other),fill:({value},h)=>broadcast(
h,value,(x,other)=>Number.isNaN(x)?other:
x),clip:({low,high},h)=>broadcast(broadcast(
h,low,Math.max),high,Math.min),take({places},h){
let size=product2(h.shape),data=new Float32Array(
h.count*places.length);for(let to=0;to<data.
length;to++){let i=Math.floor(to/places.
length);data[to]=h.data[i*size+places[to%
places.length]]}return{...h,data,shape:[
places.length]}},reshape:({shape},h)=>({
...h,shape}),context(_step,h){let[channels,
...sides]=h.shape,plane=product2(sides),
size=channels*plane,told=h.context.length/
h.count,row=size+told*plane,data=new Float32Array(
h.count*row);for(let i=0;i<h.count;i++){
data.set(h.data.subarray(i*size,(i+1)*size),
i*row);for(let c=0;c<told;c++){let to=i*
row+size+c*plane;data.fill(h.context[i*told+
c],to,to+plane)}}return{...h,data,shape:[
channels+told,...sides]}},branches({branches,
join},h,engine){let parts=branches.map(steps=>engine.
run(steps,{...h,data:h.data.slice()}));return join===
"sum"?summed(parts):concatenated(parts)},
levels(step,h){let[levels,...shape]=h.shape,
size=product2(shape),data=new Float32Array(
h.count*size),found=new Float32Array(levels);
for(let to=0;to<data.length;to++){let start2=Math.
floor(to/size)*levels*size+to%size;for(let k=0;k<
levels;k++)found[k]=h.data[start2+k*size];
step.of in OF_LOGISTIC?data[to]=OF_LOGISTIC[step.
of](found[0],found[1],step):data[to]=OF_LEVELS[step.
of](found)}return{...h,data,shape}}};function windows(grid,sides,{
kernel,stride,padding}){let places=new Int32Array(
product2(grid)*product2(kernel)),to=0;for(let y=0;y<
grid[0];y++)for(let x=0;x<grid[1];x++){let top=y*
stride[0]-padding[0],left=x*stride[1]-padding[1];
for(let r=top;r<top+kernel[0];r++)for(let s=left;s<
left+kernel[1];s++){let isInside=r>=0&&r<
sides[0]&&s>=0&&s<sides[1];places[to++]=
isInside?r*sides[1]+s:-1}}return places}
function gather(seen,image,map,channels,plane,pixels){
let taps=map.length/pixels,to=0;for(let c=0;c<
channels;c++)for(let tap=0;tap<taps;tap++)
for(let p=0;p<pixels;p++){let place=map[p*
taps+tap];seen[to++]=place<0?0:image[c*plane+
place]}}function addUp(image,sums,map,row,outputs,plane,pixels){
let taps=map.length/pixels;for(let p=0;p<
pixels;p++){let from=p*row;for(let o=0;o<
outputs;o++)for(let tap=p*taps;tap<(p+1)*
taps;tap++,from++)map[tap]>=0&&(image[o*
plane+map[tap]]+=sums[from])}}function broadcast(h,values,call){
let size=product2(h.shape),each=size/values.
length,{data}=h;for(let i=0;i<data.length;i++)
data[i]=call(data[i],values[Math.floor(i%
size/each)]);return h}function summed([first,
...others]){for(let{data}of others)for(let i=0;i<
data.length;i++)first.data[i]+=data[i];return first}
function concatenated(parts){let[{count,
context,shape}]=parts,sizes=parts.map(({
shape:shape2})=>product2(shape2)),size=sizes.
reduce((a,b)=>a+b),data=new Float32Array(
count*size),to=0;for(let i=0;i<count;i++)
for(let[k,part]of parts.entries())data.set(
part.data.subarray(i*sizes[k],(i+1)*sizes[k]),
to),to+=sizes[k];return{count,context,data,
shape:[size/product2(shape.slice(1)),...shape.
slice(1)]}}var MOST_FLOATS=2**21;function halves(bytes){
let bits=new Uint32Array(bytes.length/2),
found=new Float32Array(bits.buffer);for(let i=0;i<
bits.length;i++){let half=bytes[bits.length+
i]<<8|bytes[i];bits[i]=(half&32768)<<16|
(half&32767)<<13}for(let i=0;i<found.length;i++)
found[i]*=2**112;return found}function scaled(bytes,steps){
let whole2=new Int8Array(bytes.buffer),width=whole2.
length/steps.length,found=new Float32Array(
whole2.length);return[...steps.keys()].sort(
(a,b)=>steps[a]-steps[b]||a-b).forEach((row,stored)=>{
for(let k=0;k<width;k++)found[row*width+
k]=whole2[stored*width+k]*steps[row]}),found}
var BYTES={f32:4,f16:2,i8:1};function arraysOf(payload){
let{weights}=payload,bytes=typeof weights==
"string"?bytesOf(weights):weights,valuesOf=name=>{
let{shape,type,start:start2,steps}=payload.
arrays[name],part=bytes.slice(start2,start2+
product2(shape)*BYTES[type]);return type===
"f16"?halves(part):type==="i8"?scaled(part,
valuesOf(steps)):new Float32Array(part.buffer)},
found={};for(let[name,{shape}]of Object.
entries(payload.arrays))found[name]={shape,
values:valuesOf(name)};return found}var Decoder=class{constructor({
latentDim,contextDim,eventShape,error}){
this.latentDim=latentDim,this.contextDim=
contextDim,this.eventShape=eventShape,this.
size=product2(eventShape),this.error=error}count(z){
let{latentDim}=this;if(z.length%latentDim)
throw new RangeError(`z must hold ${latentDim}\
 numbers a code; got ${z.length} in all.`);
return z.length/latentDim}contexts(context,count){
let width=this.contextDim,told=new Float32Array(
count*width);if(!context||!width)return told;
let isKnown2=context.length===width||context.
length===told.length,must=`a context mus\
t hold ${width} numbers, for all codes o\
r for each`;if(!isKnown2)throw new RangeError(
`${must}; got ${context.length}.`);for(let i=0;i<
told.length;i++)told[i]=context[i%context.
length];return told}},LocalDecoder=class extends Decoder{constructor(payload,kernel){
super(payload),this.products=new Products(
kernel),this.kernel=this.products.memory.
name;let arrays=arraysOf(payload);this.steps=
this.prepared(payload.steps,arrays),this.
spreads=null,payload.spread&&(this.spreads=
[...this.steps.slice(0,payload.shared),...this.
prepared(payload.spread,arrays)]),this.hasSpread=
!!payload.spread,this.largest=1,this.batch(
new Float32Array(this.latentDim),new Float32Array(
this.contextDim),1)}prepared(steps,arrays){
return steps.map(step=>{let mine={...step};
for(let name of["bias","value","low","hi\
gh"])step[name]&&(mine[name]=arrays[step[name]].
values);if(step.branches&&(mine.branches=
step.branches.map(branch=>this.prepared(
branch,arrays))),!step.weight)return mine;
let{shape,values}=arrays[step.weight];return step.
op==="normalise"?{...mine,weight:values}:
{...mine,kernel:shape.slice(2),layer:this.
layer(mine,shape,values)}})}layer({op,bias},[
first,...rest],values){let others=product2(
rest);return op==="convolve-transposed"?
this.products.keep(others,first,values,1,
others,null):this.products.keep(first,others,
values,others,1,bias)}run(steps,given){let values=given;
for(let step of steps)values=STEPS4[step.
op](step,values,this),this.largest=Math.
max(this.largest,values.data.length/values.
count);return values}batch(z,context,count,steps=this.
steps){return this.run(steps,{data:z.slice(),
shape:[this.latentDim],count,context}).data}decode(z,context=null){
return this.all(z,context,this.steps)}spread(z,context=null){
return this.spreads?this.all(z,context,this.
spreads):null}all(z,context,steps){let{latentDim,
contextDim,size}=this,count=this.count(z),
told=this.contexts(context,count),most=Math.
max(1,Math.floor(MOST_FLOATS/this.largest)),
found=new Float32Array(count*size);for(let i=0;i<
count;i+=most){let end=Math.min(count,i+
most),codes=z.subarray(i*latentDim,end*latentDim),
contexts=told.subarray(i*contextDim,end*
contextDim);found.set(this.batch(codes,contexts,
end-i,steps),i*size)}return found}},RemoteDecoder=class extends Decoder{constructor(payload){
super(payload),this.url=payload.url,this.
mostCodes=payload.mostCodes,this.kernel=
"server",this.spreadUrl=payload.spreadUrl,
this.hasSpread=!!payload.spreadUrl}spread(z,context=null){
return this.hasSpread?this.all(z,context,
this.spreadUrl):null}decode(z,context=null){
return this.all(z,context,this.url)}async all(z,context,url){
let{latentDim,contextDim,size,mostCodes}=this,
count=this.count(z),told=this.contexts(context,
count),width=latentDim+contextDim,rows=new Float32Array(
count*width),found=new Float32Array(count*
size);for(let i=0;i<count;i++)rows.set(z.
subarray(i*latentDim,(i+1)*latentDim),i*
width),rows.set(told.subarray(i*contextDim,
(i+1)*contextDim),i*width+latentDim);for(let i=0;i<
count;i+=mostCodes){let part=await this.
ask(url,rows.slice(i*width,(i+mostCodes)*
width));found.set(part,i*size)}return found}async ask(url,rows){
let request={method:"POST",headers:{"Con\
tent-Type":"application/octet-stream"},body:rows},
answer=await fetch(url,request);for(let again=0;answer.
status===429&&again<5;again++){let seconds=Number(
answer.headers.get("Retry-After"))||1;await new Promise(
wake=>setTimeout(wake,1e3*seconds)),answer=
await fetch(url,request)}if(!answer.ok)throw new Error(
`the server answered ${answer.status}: ${await answer.
text()}`);return new Float32Array(await answer.
arrayBuffer())}};function createDecoder(payload,{
kernel=null}={}){return payload.url?new RemoteDecoder(
payload):new LocalDecoder(payload,kernel)}async function tellNotebook(app){let port=await globalThis.
variform.port,told=" ";app.tell=()=>{let{
numbers}=app.contents.rows,rows=(app.chosen()?
app.chosenExamples():[]).map(i=>numbers?.[i]??
i);String(rows)!==told&&port.postMessage(
rows),told=String(rows)},app.tell()}async function start({contents,decoder},weights){
sayFrame();let app=new App(contents,createDecoder(
{...decoder,weights}));return await app.
start(),tellNotebook(app),performance.mark(
"variform-ready"),app}function sayFrame(){
byId("skip").textContent=t`Skip to the view`;
for(let label of document.querySelectorAll(
"body > [aria-label], nav [aria-label], \
main > [aria-label]"))label.setAttribute(
"aria-label",say(label.getAttribute("ari\
a-label")));document.title=t`${document.
title.replace(/: variform explorer$/,"")}: variform explorer`}
globalThis.variform={...globalThis.variform,
start,createDecoder,Lines,Occupancy,reach};})();
